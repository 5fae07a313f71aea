package reprise

import "sync/atomic"

// A shard is a part of the internal cache with a lock of its own, which the callers of its methods hold, apart from those of
// loadCell, lockAndLoad and batch. index, cells and profiles may be read without it.
type shard struct {
	mu            versionLock
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
	c.residents.remove(storeTag(cell.tag.Load()), placeOf(cell.fingerprint, at))
	s.index.remove(cell.fingerprint, at, s.fingerprint)
	s.takeOrder(at)
	if released := s.profiles.release(slot(cell.profile.Load())); released != nil {
		c.profileSize.Add(-released.length())
	}
	s.cells.release(at)
	return session
}

func (c *internalCache) insert(s *shard, fingerprint uint64, session *Session, p part, r residence) slot {
	at := s.cells.allocate()
	cell := s.cells.at(at)
	profile, isNew := s.profiles.acquire(session.profile)
	if isNew {
		c.profileSize.Add(session.profile.length())
	}
	data := session.sessionData
	data.residence = r
	cell.store(&data, profile)
	cell.fingerprint, cell.state = fingerprint, 0
	if p == unconfirmed {
		cell.state = cellUnconfirmed
	}
	s.index.add(fingerprint, at, s.fingerprint)
	s.addOrder(orderEntry{expiry: session.expiry(), serial: c.serial.Add(1), slot: at})
	c.residents.add(r.tag, placeOf(fingerprint, at))
	return at
}

func (s *shard) fingerprint(at slot) uint64 { return s.cells.at(at).fingerprint }

// load reads the session of a slot into dst.
func (s *shard) load(at slot, dst *Session) {
	cell := s.cells.at(at)
	s.loadCell(cell, dst)
	dst.id = cell.sessionID()
}

// loadCell reads the session of a cell into dst, but for its ID.
func (s *shard) loadCell(cell *cell, dst *Session) {
	dst.profile = s.profiles.at(cell.load(&dst.sessionData)).profile.Load()
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
	to := min(from+16*slotsPerChunk, s.cells.unused)
	for at := from; at < to; at++ {
		if s.cells.at(at).idLength.Load() > 0 {
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

// lockAndLoad is what internalCache.load does if somebody else holds the lock. It overwrites what that has read.
func (s *shard) lockAndLoad(fingerprint uint64, id *SessionID, dst *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.find(fingerprint, &s.cells, id)
	if at == noSlot {
		*dst = Session{}
		return false
	}
	s.load(at, dst)
	return true
}
