package reprise

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// A storeTag names a record: the first eight bytes of its store key. 0 is that of a session without a record.
type storeTag uint64

func (k *StoreKey) tag() storeTag { return storeTag(binary.BigEndian.Uint64(k[:])) }

// An epoch is a time in which every removal by another node is told, if odd, or one in which removals may be missed, if
// even. They follow each other.
type epoch uint32

func (e epoch) isFollowing() bool { return e%2 == 1 }

// A residence is what ties a session of the internal cache to its record in a store that tells of removals.
type residence struct {
	tag storeTag
	// epoch is when the record was last known to be in the store. If that is over, it may have gone unseen.
	epoch epoch
	_     [4]byte // as long on all processors
}

// A moment is when a lookup began.
type moment struct {
	mark    mark   // in the removals from this cache
	notices uint64 // how many notices had come
	epoch   epoch
}

// residents finds the sessions of an internal cache by their records, for a store that tells of removals ([Notifier]), and
// remembers the last notices, so that a lookup which began before one does not bring the session back. Without such a
// store it does nothing. It costs about 10 bytes a session.
type residents struct {
	tagAt   func(place) storeTag
	tagOf   atomic.Pointer[func(*Session) storeTag] // nil: no store tells of removals
	epoch   atomic.Uint32
	notices atomic.Uint64
	shards  [numShards]residentShard
}

// A residentShard has a lock of its own, which is taken last.
type residentShard struct {
	mu     sync.Mutex
	index  index    // of places by tag
	recent []notice // the last ones; the oldest is at next
	next   int
	_      [64]byte // the next shard's lock in a cache line of its own
}

// A place is where a cell is, of all shards: its slot and the number of its shard, in one word (see mostSessions).
type place = slot

// placeOf returns the place of the cell of a session.
func placeOf(fingerprint uint64, at slot) place { return at*numShards | place(fingerprint%numShards) }

// cellAt returns the shard and the slot of a place.
func (c *internalCache) cellAt(p place) (*shard, slot) { return &c.shards[p%numShards], p / numShards }

// tagAt returns the tag of the session whose cell is at a place.
func (c *internalCache) tagAt(p place) storeTag {
	s, at := c.cellAt(p)
	return storeTag(s.cells.at(at).words[tagWord].Load())
}

// A notice is that the record of a tag was removed.
type notice struct {
	tag    storeTag
	number uint64
}

// recentNotices is how many notices each shard remembers: together, those of a second or more in a busy fleet.
const recentNotices = 1024

// init makes the residents of a cache. tagAt returns the tag of the session whose cell is at a place.
func (r *residents) init(tagAt func(place) storeTag) {
	r.tagAt = tagAt
	for i := range r.shards {
		r.shards[i].index.init()
	}
}

// begin makes the residents known that enter from now on. tagOf returns the tag of a session's record, 0 if it has none.
func (r *residents) begin(tagOf func(*Session) storeTag) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.index.init()
		s.recent = make([]notice, recentNotices)
		s.mu.Unlock()
	}
	r.tagOf.Store(&tagOf)
}

// end trusts all residents again: there is no store any more that they could have gone from.
func (r *residents) end() { r.tagOf.Store(nil) }

func (r *residents) areKnown() bool { return r.tagOf.Load() != nil }

func (r *residents) present() epoch { return epoch(r.epoch.Load()) }

// setFollowing begins another epoch, if that is one.
func (r *residents) setFollowing(follows bool) (changed bool) {
	for {
		now := r.present()
		if now.isFollowing() == follows {
			return false
		}
		if r.epoch.CompareAndSwap(uint32(now), uint32(now+1)) {
			return true
		}
	}
}

// ofNew returns the residence of a session that was made here and is about to be stored.
func (r *residents) ofNew(s *Session) residence {
	tagOf := r.tagOf.Load()
	if tagOf == nil {
		return residence{}
	}
	return residence{tag: (*tagOf)(s), epoch: r.present()}
}

// trusts reports whether a session of the internal cache can't have been removed by another node long ago. The store has the
// last word on sessions for single use in any case.
func (r *residents) trusts(s *Session) bool {
	return !r.areKnown() || s.residence.tag == 0 || s.SingleUse() ||
		s.residence.epoch.isFollowing() && s.residence.epoch == r.present()
}

func (r *residents) shard(tag storeTag) *residentShard { return &r.shards[tag%numShards] }

func (r *residents) add(tag storeTag, at place) {
	if tag == 0 || !r.areKnown() {
		return
	}
	s := r.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, found := locate(s.index.buckets(), uint64(tag), at); !found {
		s.index.add(uint64(tag), at, r.fingerprintAt)
	}
}

// remove forgets a session, if it is known: not one that is older than the binding to the store.
func (r *residents) remove(tag storeTag, at place) {
	if tag == 0 {
		return
	}
	s := r.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.remove(uint64(tag), at, r.fingerprintAt)
}

// fingerprintAt returns what the index has a place by: tags are as good as random.
func (r *residents) fingerprintAt(at place) uint64 { return uint64(r.tagAt(at)) }

// note remembers a notice, and returns the place of its session if that is resident.
func (r *residents) note(tag storeTag) (at place, resident bool) {
	s := r.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent[s.next] = notice{tag, r.notices.Add(1)}
	s.next = (s.next + 1) % len(s.recent)
	at = s.index.findBy(uint64(tag), func(p place) bool { return r.tagAt(p) == tag })
	return at, at != noSlot
}

// notedSince reports whether there was a notice of the tag after the moment. It says yes too if that was too long ago to
// know.
func (r *residents) notedSince(tag storeTag, since moment) bool {
	if tag == 0 || !r.areKnown() {
		return false
	}
	s := r.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.recent {
		n := &s.recent[(s.next-1-i+len(s.recent))%len(s.recent)]
		if n.number <= since.notices {
			return false
		}
		if n.tag == tag {
			return true
		}
	}
	return true
}

// moment returns the present one, for the session id.
func (c *internalCache) moment(id *SessionID) moment {
	return moment{c.mark(id), c.residents.notices.Load(), c.residents.present()}
}

// noted removes the session whose record another node has removed. It is nil if there is none, or if its announcer deals
// with it. Sessions for single use stay, until they are offered: the store has the last word on them, and says that they were used.
func (c *internalCache) noted(tag storeTag) *Session {
	place, resident := c.residents.note(tag)
	if !resident {
		return nil
	}
	s, at := c.cellAt(place)
	s.mu.Lock()
	defer s.mu.Unlock()
	data := s.cells.at(at).data()
	if data.residence.tag != tag || data.flags&flagSingleUse != 0 { // the former has left meanwhile
		return nil
	}
	s.removals.add(fingerprintOf(c.seed, &data.id))
	return c.removeAt(s, at, RemovedElsewhere)
}

// verified notes that a lookup which began at the moment has found the session's record, and reports whether the
// session is resident.
func (c *internalCache) verified(session *Session, since moment) bool {
	s, fingerprint := c.locate(&session.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, &session.id)
	if at == noSlot {
		return false
	}
	tag := session.residence.tag
	cell := s.cells.at(at)
	data := cell.data()
	if data.residence == (residence{tag: tag, epoch: since.epoch}) {
		return true // that its record was in the store then is known already
	}
	if data.residence.tag != tag {
		return true // it entered without a store that tells of removals, or under another fleet key, whose records are others
	}
	c.residents.add(tag, placeOf(fingerprint, at)) // it is not there if the session is older than the binding to the store
	if !c.residents.notedSince(tag, since) {
		data.residence.epoch = since.epoch
		cell.store(&data)
	}
	return true
}
