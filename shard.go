package reprise

import (
	"hash/maphash"
	"sync/atomic"
)

// A shard is a part of the internal cache with a lock of its own, which the callers of its methods hold, apart from those of
// loadCell, lockAndLoad and batch. index, cells and profiles may be read without it.
type shard struct {
	mu            versionLock
	seed          maphash.Seed
	index         index
	cells         cells
	profiles      profiles
	order         [2]expiryOrder
	announcements announcements
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
	session := s.session(cell)
	tag := session.residence.tag
	if cell.state&cellAnnouncing != 0 {
		a := s.announcements.take(at)
		a.removed, a.why = true, why
		session = nil
	}
	c.release(cell.part())
	fingerprint := s.fingerprint(at)
	c.residents.remove(tag, placeOf(fingerprint, at))
	s.index.remove(fingerprint, at, s.fingerprint)
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
	cell.store(&data)
	cell.profile.Store(uint32(profile))
	cell.state = 0
	if p == unconfirmed {
		cell.state = cellUnconfirmed
	}
	s.index.add(fingerprint, at, s.fingerprint)
	s.addOrder(orderEntry{expiry: session.expiry(), serial: c.serial.Add(1), slot: at})
	c.residents.add(r.tag, placeOf(fingerprint, at))
	return at
}

// fingerprint returns that of a slot.
func (s *shard) fingerprint(at slot) uint64 {
	id := s.cells.at(at).sessionID()
	return fingerprintOf(s.seed, &id)
}

// session returns the session of a cell.
func (s *shard) session(cell *cell) *Session {
	session := new(Session)
	s.loadCell(cell, session)
	session.id = cell.sessionID()
	return session
}

// loadCell reads the session of a cell into dst, but for its ID.
func (s *shard) loadCell(cell *cell, dst *Session) {
	dst.profile, dst.madeUnder = s.profiles.at(cell.load(&dst.sessionData)), nil
}

// entry returns a cell's entry in the order of its part.
func (s *shard) entry(at slot) orderEntry {
	cell := s.cells.at(at)
	return s.order[cell.part()].entry(&s.cells, at)
}

func (s *shard) addOrder(e orderEntry) {
	p := s.cells.at(e.slot).part()
	s.order[p].push(&s.cells, e)
	s.publish(p)
}

func (s *shard) takeOrder(at slot) orderEntry {
	e := s.entry(at)
	p := s.cells.at(at).part()
	s.order[p].remove(&s.cells, e.slot)
	s.publish(p)
	return e
}

// publish shows the top of an order to those who look without the lock.
func (s *shard) publish(p part) {
	top, ok := s.order[p].first()
	if !ok {
		top.expiry = noExpiry
	}
	s.first[p].expiry.Store(int64(top.expiry))
	s.first[p].serial.Store(top.serial)
}

// batchLength is how many slots batch looks at.
const batchLength = 2048

// batch returns the sessions of some slots from the given one on, and the slot to go on with.
func (s *shard) batch(from slot) (sessions []*Session, next slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chunks := *s.cells.chunks.Load()
	n, i := int(from>>chunkBits), int(from%longestChunk)
	for range batchLength {
		if n == len(chunks) {
			return sessions, noSlot
		}
		if cell := &chunks[n].cells[i]; !cell.isFree() {
			sessions = append(sessions, s.session(cell))
		}
		if i++; i == len(chunks[n].cells) {
			n, i = n+1, 0
		}
	}
	return sessions, slot(n<<chunkBits + i)
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
	s.loadCell(s.cells.at(at), dst)
	dst.id = *id
	return true
}
