package reprise

import (
	"sync"
	"sync/atomic"
)

// A shard is a part of the internal cache with a lock of its own, which the callers of its methods hold, apart from batch.
type shard struct {
	mu            sync.Mutex
	index         index
	cells         cells
	profiles      profiles
	order         [2]expiryOrder
	announcements map[slot]*announcement
	removals      removalLog

	// first is the top of each order, to be read without the lock.
	first [2]struct {
		expiry atomic.Int64
		serial atomic.Uint32
	}
	_ [64]byte // the next shard's lock in a cache line of its own
}

// removeAt ends a residence. It returns the session, or nil if it is still being announced: then the announcer is told.
func (c *internalCache) removeAt(s *shard, at slot, why Removal) *Session {
	cell := s.cells.at(at)
	session := new(Session)
	s.load(at, session)
	if cell.state&cellAnnouncing != 0 {
		a := s.announcements[at]
		a.removed, a.why = true, why
		delete(s.announcements, at)
		session = nil
	}
	c.release(cell.part())
	fingerprint := c.fingerprint(cell)
	c.residents.remove(cell.residence.tag, placeOf(fingerprint, at))
	s.index.remove(fingerprint, at, func(other slot) uint64 { return c.fingerprint(s.cells.at(other)) })
	s.takeOrder(at)
	if released := s.profiles.release(cell.profile); released != nil {
		c.profileSize.Add(-released.length())
	}
	s.cells.release(at)
	return session
}

func (c *internalCache) insert(s *shard, fingerprint uint64, session *Session, p part, r residence) slot {
	at := s.cells.allocate()
	cell := s.cells.at(at)
	cell.sessionData = session.sessionData
	profile, isNew := s.profiles.acquire(session.profile)
	if isNew {
		c.profileSize.Add(session.profile.length())
	}
	cell.profile = profile
	cell.state = 0
	cell.residence = r
	if p == unconfirmed {
		cell.state = cellUnconfirmed
	}
	s.index.add(fingerprint, at, func(other slot) uint64 { return c.fingerprint(s.cells.at(other)) })
	s.addOrder(orderEntry{expiry: session.expiry(), serial: c.serial.Add(1), slot: at})
	c.residents.add(r.tag, placeOf(fingerprint, at))
	return at
}

func (s *shard) load(at slot, dst *Session) {
	cell := s.cells.at(at)
	dst.sessionData, dst.profile = cell.sessionData, s.profiles.entries[cell.profile].profile
}

// entry returns a cell's entry in the order of its part.
func (s *shard) entry(at slot) orderEntry {
	cell := s.cells.at(at)
	return s.order[cell.part()][cell.rank]
}

func (s *shard) addOrder(e orderEntry) {
	p := s.cells.at(e.slot).part()
	s.order[p].push(&s.cells, e)
	s.publish(p)
}

func (s *shard) takeOrder(at slot) orderEntry {
	e := s.entry(at)
	p := s.cells.at(at).part()
	s.order[p].remove(&s.cells, s.cells.at(at).rank)
	s.publish(p)
	return e
}

// publish shows the top of an order to those who look without the lock.
func (s *shard) publish(p part) {
	top := orderEntry{expiry: noExpiry}
	if len(s.order[p]) > 0 {
		top = s.order[p][0]
	}
	s.first[p].expiry.Store(int64(top.expiry))
	s.first[p].serial.Store(top.serial)
}

// batch returns the sessions of some slots from the given one on, and the slot to go on with.
func (s *shard) batch(from slot) (sessions []*Session, next slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := min(from+16*cellsPerChunk, s.cells.unused)
	for at := from; at < to; at++ {
		if s.cells.at(at).id.length > 0 {
			session := new(Session)
			s.load(at, session)
			sessions = append(sessions, session)
		}
	}
	if to == s.cells.unused {
		return sessions, noSlot
	}
	return sessions, to
}
