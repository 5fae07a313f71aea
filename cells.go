package reprise

import (
	"encoding/binary"
	"sync/atomic"
)

// A cell is a session in the internal cache. It holds no pointer, so that the garbage collector passes over the memory
// of any number of sessions without looking into it, and fills three cache lines. Lookups read it without the shard's lock, so
// what they read is atomic.
type cell struct {
	id                           [MaxSessionIDLength / 8]atomic.Uint64
	secret                       [maxSecretLength / 8]atomic.Uint64
	lineage                      [2]atomic.Uint64
	created, timeout, start, end atomic.Int64
	tag                          atomic.Uint64
	negotiated                   atomic.Uint64 // version, cipher suite, group, length of the secret, flags
	ticketAgeAdd, maxEarlyData   atomic.Uint32
	generation, epoch            atomic.Uint32
	idLength                     atomic.Uint32
	profile                      atomic.Uint32 // slot in the shard's profiles

	// For the holder of the shard's lock.
	fingerprint uint64
	rank        uint32 // in the order of expiry
	next        slot   // of the free cells
	state       cellState
}

// store writes a session to the cell.
func (c *cell) store(d *sessionData, profile slot) {
	storeWords(c.id[:], d.id.bytes[:])
	storeWords(c.secret[:], d.secret[:])
	storeWords(c.lineage[:], d.lineage.id[:])
	c.created.Store(int64(d.created))
	c.timeout.Store(int64(d.timeout))
	c.start.Store(int64(d.lineage.start))
	c.end.Store(int64(d.lineage.end))
	c.tag.Store(uint64(d.residence.tag))
	c.negotiated.Store(uint64(d.version) | uint64(d.cipherSuite)<<16 | uint64(d.group)<<32 | uint64(d.secretLength)<<48 | uint64(d.flags)<<56)
	c.ticketAgeAdd.Store(d.ticketAgeAdd)
	c.maxEarlyData.Store(d.maxEarlyData)
	c.generation.Store(d.lineage.generation)
	c.epoch.Store(uint32(d.residence.epoch))
	c.idLength.Store(uint32(d.id.length))
	c.profile.Store(uint32(profile))
}

// load reads the session of the cell, but for its ID, which lookups have already. It is written out, not in loops: it is half
// of what a lookup does.
func (c *cell) load(d *sessionData) (profile slot) {
	loadWords(d.secret[0:16], &c.secret[0], &c.secret[1])
	loadWords(d.secret[16:32], &c.secret[2], &c.secret[3])
	loadWords(d.secret[32:48], &c.secret[4], &c.secret[5])
	d.created = milliseconds(c.created.Load())
	d.timeout = milliseconds(c.timeout.Load())
	loadWords(d.lineage.id[:], &c.lineage[0], &c.lineage[1])
	d.lineage.start = milliseconds(c.start.Load())
	d.lineage.end = milliseconds(c.end.Load())
	d.lineage.generation = c.generation.Load()
	d.residence.tag = storeTag(c.tag.Load())
	d.residence.epoch = epoch(c.epoch.Load())
	d.ticketAgeAdd = c.ticketAgeAdd.Load()
	d.maxEarlyData = c.maxEarlyData.Load()
	negotiated := c.negotiated.Load()
	d.version = uint16(negotiated)
	d.cipherSuite = uint16(negotiated >> 16)
	d.group = uint16(negotiated >> 32)
	d.secretLength = uint8(negotiated >> 48)
	d.flags = sessionFlags(negotiated >> 56)
	return slot(c.profile.Load())
}

// sessionID reads the ID of the session, the empty one if the cell is free.
func (c *cell) sessionID() (id SessionID) {
	loadWords(id.bytes[:16], &c.id[0], &c.id[1])
	loadWords(id.bytes[16:], &c.id[2], &c.id[3])
	id.length = int(c.idLength.Load())
	return id
}

func (c *cell) flags() sessionFlags { return sessionFlags(c.negotiated.Load() >> 56) }

// has tells whether the cell holds the session id.
func (c *cell) has(id *SessionID) bool {
	b, le := &id.bytes, binary.LittleEndian
	return c.id[0].Load()^le.Uint64(b[0:])|
		c.id[1].Load()^le.Uint64(b[8:])|
		c.id[2].Load()^le.Uint64(b[16:])|
		c.id[3].Load()^le.Uint64(b[24:])|
		uint64(c.idLength.Load())^uint64(id.length) == 0
}

func storeWords(to []atomic.Uint64, b []byte) {
	for i := range to {
		to[i].Store(binary.LittleEndian.Uint64(b[8*i:]))
	}
}

// loadWords reads two words.
func loadWords(b []byte, first, second *atomic.Uint64) {
	binary.LittleEndian.PutUint64(b, first.Load())
	binary.LittleEndian.PutUint64(b[8:], second.Load())
}

type cellState uint8

const (
	// cellUnconfirmed: the client has not proved itself. The cell is in the unconfirmed part.
	cellUnconfirmed cellState = 1 << iota
	// cellAnnouncing: the new callback is running.
	cellAnnouncing
)

func (c *cell) part() part {
	if c.state&cellUnconfirmed != 0 {
		return unconfirmed
	}
	return confirmed
}

// A slot is the place of a cell or of a profile in its slab.
type slot uint32

const noSlot = ^slot(0)

// slotsPerChunk makes a chunk of cells of 24 KiB, which the allocator aligns to cache lines and rounds up by nothing.
const slotsPerChunk = 128

// A slab is memory for any number of cells or profiles. They never move, so that they can be read without the lock, by whoever
// has read their slot.
type slab[T any] struct {
	chunks atomic.Pointer[[]*[slotsPerChunk]T]
	unused slot // first slot that was never used
}

func (s *slab[T]) at(i slot) *T { return &(*s.chunks.Load())[i/slotsPerChunk][i%slotsPerChunk] }

// extend returns a slot that was never used.
func (s *slab[T]) extend() slot {
	if s.unused%slotsPerChunk == 0 {
		var chunks []*[slotsPerChunk]T
		if there := s.chunks.Load(); there != nil {
			chunks = *there
		}
		chunks = append(chunks, new([slotsPerChunk]T))
		s.chunks.Store(&chunks)
	}
	s.unused++
	return s.unused - 1
}

// cells are the cells of a shard. Freed ones are overwritten and used again.
type cells struct {
	slab[cell]
	free slot // first of the freed slots
}

func (c *cells) allocate() slot {
	if c.free == noSlot {
		return c.extend()
	}
	s := c.free
	c.free = c.at(s).next
	return s
}

// release overwrites the cell, its secret above all, and frees its slot.
func (c *cells) release(s slot) {
	cell := c.at(s)
	cell.store(&sessionData{}, 0)
	cell.next = c.free
	c.free = s
}

// profiles is the table of profiles that the cells of a shard share, each with the number of cells that have it.
type profiles struct {
	slab[profileEntry]
	index map[profile]slot
	free  []slot
}

type profileEntry struct {
	profile atomic.Pointer[profile] // nil if the slot is free
	cells   uint32
}

// has tells whether a cell has the profile already.
func (p *profiles) has(of *profile) bool {
	_, ok := p.index[*of]
	return ok
}

// length is how many bytes of variable length a profile holds. That several may have one chain is not seen.
func (p *profile) length() int64 {
	return int64(len(p.context) + len(p.serverName) + len(p.alpn) + len(p.chain.Value()) + len(p.appData) + len(p.opaque))
}

// acquire returns the slot of the profile for one more cell, and whether it is the first.
func (p *profiles) acquire(of *profile) (s slot, isNew bool) {
	s, ok := p.index[*of]
	if !ok {
		s = p.allocate()
		p.at(s).profile.Store(of)
		p.index[*of] = s
	}
	p.at(s).cells++
	return s, !ok
}

func (p *profiles) allocate() slot {
	last := len(p.free) - 1
	if last < 0 {
		return p.extend()
	}
	s := p.free[last]
	p.free = p.free[:last]
	return s
}

// release returns the profile if its last cell gave it up, else nil.
func (p *profiles) release(s slot) (released *profile) {
	entry := p.at(s)
	if entry.cells--; entry.cells > 0 {
		return nil
	}
	released = entry.profile.Swap(nil)
	delete(p.index, *released)
	p.free = append(p.free, s)
	return released
}
