package reprise

import (
	"context"
	"sync/atomic"
	"time"
)

// noticeCounts are the counters of the notices of a store.
type noticeCounts struct {
	told, lost atomic.Uint64
}

// followPatience is how long a store has to begin with it before somebody is told that it does not.
const followPatience = 10 * time.Second

// follow makes the cache follow a store that tells of removals, until ctx is done.
func (b *StoreBinding) follow(ctx context.Context, store Notifier) {
	residents := &b.cache.internal.residents
	begins := time.AfterFunc(followPatience, func() {
		if ctx.Err() == nil && !residents.present().isFollowing() && b.notices.lost.Load() == 0 {
			b.logger.Warn("reprise: store does not tell of removals by other nodes so far; sessions are looked up in it until it does")
		}
	})
	b.sweeping.Go(func() {
		defer begins.Stop()
		defer residents.setFollowing(false)
		store.Notices(ctx, b.notice)
	})
}

// tagOf returns the tag of the record that a new session will have, 0 if it will have none.
func (b *StoreBinding) tagOf(s *Session) storeTag {
	key := b.keyOfNew(s, b.cache.options.Now())
	if key == nil {
		return 0
	}
	storeKey := storeKeyOf(s, key)
	return storeKey.tag()
}

// notice takes what the store tells.
func (b *StoreBinding) notice(n Notice) {
	switch n.Kind {
	case NoticeRemoved:
		b.removedElsewhere(n.Key)
	case NoticeSwapped:
		b.revocations.heed()
	case NoticesFollow:
		b.revocations.heed() // of what was not told before
		if b.cache.internal.residents.setFollowing(true) {
			b.logger.Info("reprise: store tells of removals by other nodes")
		}
	case NoticesLost:
		if b.cache.internal.residents.setFollowing(false) {
			b.notices.lost.Add(1)
			b.logger.Warn("reprise: removals by other nodes may be missed; sessions are looked up in the store until that has changed")
		}
	}
}

// removedElsewhere makes void what this node has of a record that is gone: lookups under way, and the session in the internal
// cache. The store is never told of that.
func (b *StoreBinding) removedElsewhere(key StoreKey) {
	b.notices.told.Add(1)
	b.queue.dropLookup(key)
	if s := b.cache.internal.noted(key.tag()); s != nil {
		b.cache.callRemove(s, RemovedElsewhere, true)
	}
}
