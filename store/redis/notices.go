package redisstore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

const (
	// heartbeat is how often a primary is asked for its pulse, on the connection that notices come by. With the answer, all
	// notices of before have come.
	heartbeat = 500 * time.Millisecond
	// heartbeatTimeout is how long the answer may take before notices count as lost.
	heartbeatTimeout = time.Second
	// retryPause is how long to wait before another connection is tried.
	retryPause = 100 * time.Millisecond
	// maxNotices is how many notices may wait for who is told.
	maxNotices = 1 << 16
)

// Notices implements [reprise.Notifier] with client tracking in broadcast mode (docs/decisions/0009-redis-notices.md). A removal is
// told when Redis has carried it out, after a network delay. If the connection to a primary is cut or hangs, NoticesLost comes
// within 1.5 seconds.
func (s *Store) Notices(ctx context.Context, f func(reprise.Notice)) {
	q := s.notices.join()
	defer s.notices.leave(q)
	for {
		for _, notice := range s.notices.take(q) {
			f(notice)
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			f(reprise.Notice{Kind: reprise.NoticesLost})
			return
		}
	}
}

// follow follows a primary until ctx is done.
func (s *Store) follow(ctx context.Context, sh *shard) {
	for ctx.Err() == nil {
		s.followOnce(ctx, sh)
		s.loseTrack(sh)
		pause(ctx, retryPause)
	}
}

// followOnce follows a primary for as long as one connection to it lasts.
func (s *Store) followOnce(ctx context.Context, sh *shard) {
	lost := make(chan struct{})
	loseOnce := sync.OnceFunc(func() { close(lost) })
	client, err := newClient(s.trackingOptions(sh.address, loseOnce))
	if client != nil {
		defer func() { go client.Close() }() // which waits for a server that hangs
	}
	if err != nil {
		return
	}
	for {
		pulse, err := s.pulseOf(ctx, client)
		if err == nil {
			err = s.checkNamed(sh.address)
		}
		switch {
		case err == nil:
			sh.life.Store(pulse.life)
			sh.clock.Store(pulse.clock)
			if sh.tracks.Load() == nil {
				s.wake(ctx, sh)
			}
			s.setTracks(sh, &client)
		case errors.Is(err, errNotServing), isUnnamed(err):
			s.loseTrack(sh) // another connection would not help
		default:
			return
		}
		select {
		case <-lost:
			return
		case <-ctx.Done():
			return
		case <-time.After(heartbeat):
		}
	}
}

// wake makes the client connect to a primary that is new or was away, or find out that its own connection has broken: else the next
// caller would, who may have less time than that takes.
func (s *Store) wake(ctx context.Context, sh *shard) {
	if sh.waking.Swap(true) {
		return
	}
	defer sh.waking.Store(false)
	deadline := time.Now().Add(connectTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	key := s.keyWhere(func(slot uint16) bool { return s.slots.Load().shard(slot) == sh })
	for ctx.Err() == nil && time.Now().Before(deadline) { // contexts end a little later
		if _, _, err := s.get(ctx, key); !isTimeout(err) { // of a caller who has begun to connect, and for whom others wait
			return
		}
	}
}

// wakeAfter wakes the primary of a key, if a read has failed without an answer. It does not wait for that.
func (s *Store) wakeAfter(err error, key reprise.StoreKey) {
	if !isBroken(err) && !isTimeout(err) {
		return
	}
	if sh := s.shardOf(key); sh != nil && !sh.waking.Load() {
		go s.wake(s.ctx, sh)
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// trackingOptions returns the options of a client with one connection, to one server, that tells of all changes but its own.
func (s *Store) trackingOptions(address string, lose func()) rueidis.ClientOption {
	o := s.optionsOf(address)
	o.PipelineMultiplex = -1 // one connection
	o.RingScaleEachConn = noticeRingScale
	o.DisableCache = false
	o.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return noCache{} }
	o.ClientTrackingOptions = []string{"BCAST", "NOLOOP", "PREFIX", s.prefix}
	o.DialCtxFn = s.dialer(newPacedConn, s.target.password)
	o.OnInvalidations = func(names []rueidis.RedisMessage) {
		if names == nil { // the connection has ended, or all keys were flushed
			lose()
			return
		}
		s.notices.told(s.noticesOf(names))
	}
	return o
}

// noticesOf returns what is to be told of keys of Redis that have changed.
func (s *Store) noticesOf(names []rueidis.RedisMessage) []reprise.Notice {
	notices := make([]reprise.Notice, 0, len(names))
	for i := range names {
		name, _ := names[i].ToString()
		if key, ok := s.storeKey(name); ok {
			notices = append(notices, reprise.Notice{Kind: reprise.NoticeRemoved, Key: key})
		} else if key, ok := s.valueKey(name); ok {
			notices = append(notices, reprise.Notice{Kind: reprise.NoticeSwapped, Key: key})
		}
	}
	return notices
}

// loseTrack notes that a primary tells nothing now.
func (s *Store) loseTrack(sh *shard) {
	sh.clock.Store(nil)
	s.setTracks(sh, nil)
}

func (s *Store) setTracks(sh *shard, client *rueidis.Client) {
	if sh.tracks.Swap(client) == client {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge()
}

// notices hands out what is to be told, through a queue for each caller of Notices, so that who is told does not hold up the
// connection.
type notices struct {
	mu        sync.Mutex
	following bool
	queues    map[*noticeQueue]struct{}
}

// A noticeQueue holds what one caller is to be told.
type noticeQueue struct {
	wake    chan struct{} // has room for one
	waiting []reprise.Notice
}

func (n *notices) join() *noticeQueue {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := &noticeQueue{wake: make(chan struct{}, 1)}
	if n.queues == nil {
		n.queues = make(map[*noticeQueue]struct{})
	}
	n.queues[q] = struct{}{}
	if n.following {
		q.add(reprise.Notice{Kind: reprise.NoticesFollow})
	}
	return q
}

func (n *notices) leave(q *noticeQueue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.queues, q)
}

// take returns what waits, and empties the queue.
func (n *notices) take(q *noticeQueue) []reprise.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	waiting := q.waiting
	q.waiting = nil
	return waiting
}

func (q *noticeQueue) add(n reprise.Notice) {
	q.waiting = append(q.waiting, n)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// told adds what Redis has told. If too much waits, all of it is given up for a new beginning.
func (n *notices) told(all []reprise.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for q := range n.queues {
		if len(q.waiting)+len(all) > maxNotices {
			q.waiting = nil
			q.add(reprise.Notice{Kind: reprise.NoticesLost})
			if n.following {
				q.add(reprise.Notice{Kind: reprise.NoticesFollow})
			}
			continue
		}
		for _, notice := range all {
			q.add(notice)
		}
	}
}

func (n *notices) setFollowing(follows bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.following == follows {
		return
	}
	n.following = follows
	kind := reprise.NoticesLost
	if follows {
		kind = reprise.NoticesFollow
	}
	for q := range n.queues {
		q.add(reprise.Notice{Kind: kind})
	}
}

// noCache is the cache that rueidis demands for tracking: it holds nothing.
type noCache struct{}

func (noCache) Flight(string, string, time.Duration, time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	return rueidis.RedisMessage{}, nil
}
func (noCache) Update(string, string, rueidis.RedisMessage) int64 { return 0 }
func (noCache) Cancel(string, string, error)                      {}
func (noCache) Delete([]rueidis.RedisMessage)                     {}
func (noCache) Close(error)                                       {}
