package reprise

import (
	"hash/maphash"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
)

// An internalCache keeps sessions in memory, in shards with a lock each. Sessions leave it in the order of their expiry, across
// all shards. It calls nobody: what it removes, it returns.
//
// Every session that enters stays for one residence. A residence that begins with an announcement can end while the
// new callback still runs; then the end is noted in the announcement, for the announcer to deal with.
type internalCache struct {
	seed        maphash.Seed
	limit       atomic.Int64 // 0: none
	total       atomic.Int64 // sessions, those about to enter included
	unconfirmed atomic.Int64 // of these
	profileSize atomic.Int64 // bytes of variable length in all profiles
	serial      atomic.Uint32
	closed      atomic.Bool
	residents   residents
	shards      [numShards]shard
}

const numShards = 32

// A part of the cache. A full part makes room by evicting; only the confirmed one may evict from both.
type part int

const (
	confirmed part = iota
	unconfirmed
)

const noExpiry = milliseconds(math.MaxInt64)

// An announcement is a session that entered the cache and whose new callback has not returned yet.
type announcement struct {
	shard   *shard
	slot    slot
	removed bool // the session has left already, for the reason why
	why     Removal
}

// announcements are those of a shard that go on: as many as handshakes that end at once there, few.
type announcements []*announcement

// take takes out the one of a slot, which must be there.
func (as *announcements) take(of slot) *announcement {
	i := slices.IndexFunc(*as, func(a *announcement) bool { return a.slot == of })
	a, last := (*as)[i], len(*as)-1
	(*as)[i], (*as)[last] = (*as)[last], nil
	*as = (*as)[:last]
	return a
}

func newInternalCache(limit int) *internalCache {
	c := &internalCache{seed: maphash.MakeSeed()}
	c.limit.Store(int64(limit))
	c.residents.init(c.tagAt)
	for i := range c.shards {
		s := &c.shards[i]
		s.seed = c.seed
		s.index.init()
		s.cells.init()
		s.profiles.init()
		s.publish(confirmed)
		s.publish(unconfirmed)
	}
	return c
}

// locate returns the shard of id and its fingerprint there. The seed keeps IDs that others chose from colliding on
// purpose.
func (c *internalCache) locate(id *SessionID) (*shard, uint64) {
	fingerprint := fingerprintOf(c.seed, id)
	return &c.shards[fingerprint%numShards], fingerprint
}

func fingerprintOf(seed maphash.Seed, id *SessionID) uint64 {
	return maphash.Bytes(seed, id.bytes[:id.length])
}

// load reads the session id into dst and reports whether it is there. It does not allocate, and waits only if somebody
// else holds the shard's lock. dst is of no use if it is not there.
func (c *internalCache) load(id *SessionID, dst *Session) bool {
	s, fingerprint := c.locate(id)
	version, ok := s.mu.version()
	if !ok {
		return s.lockAndLoad(fingerprint, id, dst)
	}
	_, cell := s.index.search(fingerprint, &s.cells, id)
	if cell != nil {
		s.loadCell(cell, dst)
		dst.id = *id
	}
	if !s.mu.is(version) {
		return s.lockAndLoad(fingerprint, id, dst)
	}
	return cell != nil
}

func (c *internalCache) contains(id *SessionID) bool {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.find(fingerprint, &s.cells, id) != noSlot
}

// An entry is the result of putting a session into the cache.
type entry struct {
	entered      bool          // false: the cache is closed, or has no room for the session's profile
	announcement *announcement // if one was asked for
	replaced     *Session      // the session of the same ID that was there; its residence has ended
}

// enter puts a session into the cache. Room must be made with reserve before, and is given back if the session takes
// the place of another.
func (c *internalCache) enter(session *Session, p part, announce bool) entry {
	var r residence
	if announce {
		r = c.residents.ofNew(session)
	}
	s, fingerprint := c.locate(&session.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed.Load() || !c.hasRoomFor(s, session.profile) {
		c.release(p)
		return entry{}
	}
	e := entry{entered: true}
	if at := s.index.find(fingerprint, &s.cells, &session.id); at != noSlot {
		e.replaced = c.removeAt(s, at, RemovedReplaced)
	}
	at := c.insert(s, fingerprint, session, p, r)
	if announce {
		e.announcement = &announcement{shard: s, slot: at}
		s.announcements = append(s.announcements, e.announcement)
		s.cells.at(at).state |= cellAnnouncing
	}
	return e
}

// adopt is enter for a session from outside that need not enter: not if it is there already, and not if it was removed
// since, here or by another node.
func (c *internalCache) adopt(session *Session, p part, since moment) bool {
	s, fingerprint := c.locate(&session.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed.Load() || !c.hasRoomFor(s, session.profile) ||
		s.removals.has(fingerprint, since.mark) || s.index.find(fingerprint, &s.cells, &session.id) != noSlot {
		c.release(p)
		return false
	}
	tag := session.residence.tag
	at := c.insert(s, fingerprint, session, p, residence{tag: tag, epoch: since.epoch})
	if c.residents.notedSince(tag, since) { // no notice that comes later overlooks it
		c.removeAt(s, at, RemovedElsewhere)
		return false
	}
	return true
}

// profileBytesPerSession is how many bytes of variable length a session may have on average: client chains, server names,
// application data. It is what clients can make the cache hold besides its cells.
const profileBytesPerSession = 4096

// hasRoomFor tells whether a session of the profile may enter: the size of the cache bounds bytes too, or clients with padded
// chains would fill the memory with few sessions. Nobody is evicted for that.
func (c *internalCache) hasRoomFor(s *shard, p *profile) bool {
	limit := c.limit.Load()
	return limit == 0 || c.profileSize.Load()+p.length() <= max(limit, minProfileSessions)*profileBytesPerSession || s.profiles.has(p)
}

// minProfileSessions keeps a cache of few sessions from refusing a long one.
const minProfileSessions = 64

// reserve makes room for one session in a part, and reports whether it could. evicted is called for each session that
// had to go, with no lock held, and with nil for one whose announcer deals with it.
func (c *internalCache) reserve(p part, evicted func(*Session)) bool {
	for !c.tryReserve(p) {
		session, removed := c.removeFirst(p, noExpiry, RemovedEvicted)
		switch {
		case removed:
			evicted(session)
		case p == unconfirmed:
			return false
		default:
			runtime.Gosched() // all of the cache is reserved by others that are about to enter
		}
	}
	return true
}

func (c *internalCache) tryReserve(p part) bool {
	limit := c.limit.Load()
	if p == unconfirmed && !addBelow(&c.unconfirmed, unconfirmedLimit(limit)) {
		return false
	}
	if limit == 0 || limit > mostSessions {
		limit = mostSessions
	}
	if !addBelow(&c.total, limit) {
		c.unconfirmed.Add(-int64(p))
		return false
	}
	return true
}

// mostSessions keeps places within a word: half a terabyte of sessions.
const mostSessions = 1 << 31

func addBelow(n *atomic.Int64, limit int64) bool {
	for {
		v := n.Load()
		if v >= limit {
			return false
		}
		if n.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// release gives back what reserve or a cell took.
func (c *internalCache) release(p part) {
	c.total.Add(-1)
	c.unconfirmed.Add(-int64(p))
}

// unconfirmedLimit is how many sessions the unconfirmed part may hold: a quarter of the cache.
func unconfirmedLimit(limit int64) int64 {
	if limit == 0 {
		return DefaultSize
	}
	return max(1, limit/4)
}

// removeFirst removes the session that expires first in part p and the parts behind it, if it expires before the given
// time. The session is nil although one was removed if its announcer deals with it.
func (c *internalCache) removeFirst(p part, before milliseconds, why Removal) (session *Session, removed bool) {
	for {
		s, in, first := c.first(p)
		if s == nil || first.expiry >= before {
			return nil, false
		}
		if session, removed = c.removeTop(s, in, first, why); removed {
			return session, true
		}
	}
}

// first finds the shard and the part, p or one behind it, with the session that expires first.
func (c *internalCache) first(p part) (found *shard, in part, first orderEntry) {
	last := unconfirmed
	if c.unconfirmed.Load() == 0 {
		last = confirmed
	}
	for i := range c.shards {
		s := &c.shards[i]
		for part := p; part <= last; part++ {
			top := orderEntry{
				expiry: milliseconds(s.first[part].expiry.Load()),
				serial: s.first[part].serial.Load(),
			}
			if top.expiry != noExpiry && (found == nil || top.before(first)) {
				found, in, first = s, part, top
			}
		}
	}
	return found, in, first
}

// removeTop removes the top of an order if it is still the expected one.
func (c *internalCache) removeTop(s *shard, p part, expected orderEntry, why Removal) (session *Session, removed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	top, ok := s.order[p].first()
	if !ok || top.expiry != expected.expiry || top.serial != expected.serial {
		return nil, false
	}
	return c.removeAt(s, top.slot, why), true
}

// remove removes the session id. The session is nil if there was none, or if its announcer deals with it.
func (c *internalCache) remove(id *SessionID, why Removal) (session *Session, resident bool) {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if why.Final() || why == RemovedElsewhere {
		s.removals.add(fingerprint)
	}
	at := s.index.find(fingerprint, &s.cells, id)
	if at == noSlot {
		return nil, false
	}
	return c.removeAt(s, at, why), true
}

// removeExpired removes the session id if it expired before now.
func (c *internalCache) removeExpired(id *SessionID, now milliseconds) *Session {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, id)
	if at == noSlot || s.entry(at).expiry >= now {
		return nil
	}
	return c.removeAt(s, at, RemovedExpired)
}

// takeOnce removes the session id for single use, if nobody has removed it since the mark. Of several callers whose
// marks are older than the end of the first removal, the first wins. endRemoval must be called for it.
func (c *internalCache) takeOnce(id *SessionID, since mark) (session *Session, resident, taken bool) {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, id)
	if s.removals.saw(fingerprint, since) || at == noSlot && s.removals.hasForgotten(since) {
		return nil, false, false
	}
	s.removals.begin(fingerprint)
	if at == noSlot {
		return nil, false, true
	}
	return c.removeAt(s, at, RemovedUsed), true, true
}

// confirm moves the session id to the confirmed part.
func (c *internalCache) confirm(id *SessionID) {
	if c.unconfirmed.Load() == 0 {
		return
	}
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, id)
	if at == noSlot || s.cells.at(at).part() == confirmed {
		return
	}
	e := s.takeOrder(at)
	s.cells.at(at).state &^= cellUnconfirmed
	s.addOrder(e)
	c.unconfirmed.Add(-1)
}

// touch makes the session id as young as if it were made at now.
func (c *internalCache) touch(id *SessionID, now milliseconds) {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, id)
	if at == noSlot {
		return
	}
	cell := s.cells.at(at)
	session := s.session(cell)
	session.created = now
	cell.store(&session.sessionData)
	s.takeOrder(at)
	s.addOrder(orderEntry{expiry: session.expiry(), serial: c.serial.Add(1), slot: at})
}

// settle ends an announcement: the new callback has returned keep. If the residence has ended meanwhile, it returns
// why; if the session may not be kept, it ends it without a word.
func (c *internalCache) settle(a *announcement, keep bool) (removed bool, why Removal) {
	a.shard.mu.Lock()
	defer a.shard.mu.Unlock()
	if a.removed {
		return true, a.why
	}
	a.shard.announcements.take(a.slot)
	a.shard.cells.at(a.slot).state &^= cellAnnouncing
	if !keep {
		c.removeAt(a.shard, a.slot, RemovedExplicitly)
	}
	return false, 0
}

// close lets no session enter any more.
func (c *internalCache) close() {
	c.closed.Store(true)
	for i := range c.shards {
		// Whoever is entering has seen the cache open and holds the lock; it is in when the lock is free again.
		c.shards[i].mu.Lock()
		c.shards[i].mu.Unlock() //nolint:staticcheck // SA2001: a barrier
	}
}

// all calls f for each session, until it returns false. It holds no lock meanwhile.
func (c *internalCache) all(f func(*Session) bool) {
	for i := range c.shards {
		for from := slot(0); ; {
			batch, next := c.shards[i].batch(from)
			for _, session := range batch {
				if !f(session) {
					return
				}
			}
			if next == noSlot {
				break
			}
			from = next
		}
	}
}
