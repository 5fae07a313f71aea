package reprise

import (
	"sync/atomic"
	"unsafe"

	"github.com/reprise-tls/reprise/internal/largepages"
)

// A cell is a session in the internal cache. It holds no pointer, so that the garbage collector passes over the memory
// of any number of sessions without looking into it, and fills three cache lines. Lookups read it without the shard's lock, so
// what they read is atomic: the words of the session's data, as they lie in memory.
type cell struct {
	words   [lengthWord + 1]atomic.Uint64
	profile atomic.Uint32 // slot in the shard's profiles

	// For the holder of the shard's lock.
	next  slot // of the free cells
	state cellState
}

// The words of a session's data: those before the ID, which comes last, those of the ID, and its length.
const (
	idWord     = int(unsafe.Offsetof(sessionData{}.id) / 8)
	lengthWord = idWord + MaxSessionIDLength/8

	tagWord = int(unsafe.Offsetof(sessionData{}.residence)+unsafe.Offsetof(residence{}.tag)) / 8
)

// words returns the memory of a session's data, but for the length of its ID.
func (d *sessionData) words() *[lengthWord]uint64 { return (*[lengthWord]uint64)(unsafe.Pointer(d)) }

// words returns the memory of the ID, but for its length.
func (id *SessionID) words() *[MaxSessionIDLength / 8]uint64 {
	return (*[MaxSessionIDLength / 8]uint64)(unsafe.Pointer(&id.bytes))
}

// store writes a session's data to the cell.
func (c *cell) store(d *sessionData) {
	for i, word := range d.words() {
		c.words[i].Store(word)
	}
	c.words[lengthWord].Store(uint64(d.id.length))
}

// load reads the session of the cell, but for its ID, which lookups have already. It is written out, not in a loop: it is much
// of what a lookup does.
func (c *cell) load(d *sessionData) (profile slot) {
	from, to := &c.words, d.words()
	to[0] = from[0].Load()
	to[1] = from[1].Load()
	to[2] = from[2].Load()
	to[3] = from[3].Load()
	to[4] = from[4].Load()
	to[5] = from[5].Load()
	to[6] = from[6].Load()
	to[7] = from[7].Load()
	to[8] = from[8].Load()
	to[9] = from[9].Load()
	to[10] = from[10].Load()
	to[11] = from[11].Load()
	to[12] = from[12].Load()
	to[13] = from[13].Load()
	to[14] = from[14].Load()
	to[15] = from[15].Load()
	to[16] = from[16].Load()
	return slot(c.profile.Load())
}

// Here the compiler says if load is not right any more.
var _ [17]struct{} = [idWord]struct{}{}

// data reads all of the session's data.
func (c *cell) data() (d sessionData) {
	c.load(&d)
	d.id = c.sessionID()
	return d
}

// sessionID reads the ID of the session, the empty one if the cell is free.
func (c *cell) sessionID() (id SessionID) {
	to := id.words()
	for i := range to {
		to[i] = c.words[idWord+i].Load()
	}
	id.length = int(c.words[lengthWord].Load())
	return id
}

// has tells whether the cell holds the session id.
func (c *cell) has(id *SessionID) bool {
	want := id.words()
	return c.words[idWord].Load()^want[0]|
		c.words[idWord+1].Load()^want[1]|
		c.words[idWord+2].Load()^want[2]|
		c.words[idWord+3].Load()^want[3]|
		c.words[lengthWord].Load()^uint64(id.length) == 0
}

// isFree tells whether the cell holds no session: none has an empty ID.
func (c *cell) isFree() bool { return c.words[lengthWord].Load() == 0 }

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

// A slot is the place of a cell in its shard, or of a profile. That of a cell is the number of its chunk and the place there.
type slot uint32

const noSlot = ^slot(0)

// Chunks of cells double in length, from 24 KiB to 6 MiB, and have that length then. So the table of them stays so small that lookups find it
// in the processor's first cache, few sessions take little memory, and that of many lies in large pages.
const (
	firstChunk   = 1 << 7 // cells
	longestChunk = 1 << chunkBits
	chunkBits    = 15
)

// cells are the cells of a shard. They never move, so that they can be read without the lock, by whoever has read their slot. Freed
// ones are overwritten and used again.
type cells struct {
	chunks atomic.Pointer[[]chunk]
	used   int  // cells of the last chunk that were ever used
	free   slot // first of the freed slots
}

// A chunk is memory for some cells. Their ranks in the order of expiry lie apart, for the holder of the shard's lock: each session that comes
// or goes changes those of others, whose cells are not in the processor's cache.
type chunk struct {
	cells []cell
	ranks []uint32
}

func (c *cells) init() {
	c.chunks.Store(new([]chunk))
	c.free = noSlot
}

func (c *cells) at(s slot) *cell { return &(*c.chunks.Load())[s>>chunkBits].cells[s%longestChunk] }

// rank returns the place of a cell in the order of expiry.
func (c *cells) rank(s slot) *uint32 { return &(*c.chunks.Load())[s>>chunkBits].ranks[s%longestChunk] }

func (c *cells) allocate() slot {
	if c.free == noSlot {
		return c.extend()
	}
	s := c.free
	c.free = c.at(s).next
	return s
}

// chunkLength returns how many cells the n-th chunk has. From the chunkBits-th on nothing is shifted, which could leave no bit.
func chunkLength(n int) int {
	if n < chunkBits && firstChunk<<n < longestChunk {
		return firstChunk << n
	}
	return longestChunk
}

// extend returns a slot that was never used.
func (c *cells) extend() slot {
	chunks := *c.chunks.Load()
	last := len(chunks) - 1
	if last < 0 || c.used == len(chunks[last].cells) {
		length := chunkLength(len(chunks))
		chunks = append(chunks, chunk{make([]cell, length), make([]uint32, length)})
		largepages.Advise(chunks[last+1].cells)
		c.chunks.Store(&chunks)
		last++
		c.used = 0
	}
	c.used++
	return slot(last<<chunkBits + c.used - 1)
}

// release overwrites the cell, its secret above all, and frees its slot.
func (c *cells) release(s slot) {
	cell := c.at(s)
	cell.store(&sessionData{})
	cell.next = c.free
	c.free = s
}

// profiles is the table of profiles that the cells of a shard share.
type profiles struct {
	table atomic.Pointer[[]atomic.Pointer[profile]] // by slot; nil where the slot is free
	cells []int                                     // by slot: how many have the profile
	index map[traits]slot
	free  []slot
	last  slot // that acquire has returned
}

func (p *profiles) init() {
	p.table.Store(new([]atomic.Pointer[profile]))
	p.index = make(map[traits]slot)
}

// at returns the profile of a slot. It may be called without the lock, with the slot that was read from a cell.
func (p *profiles) at(s slot) *profile { return (*p.table.Load())[s].Load() }

// has tells whether a cell has the profile already.
func (p *profiles) has(of *profile) bool {
	_, ok := p.index[of.traits]
	return ok
}

// length is how many bytes of variable length a profile holds. That several may have one chain is not seen.
func (t *traits) length() int64 {
	return int64(len(t.context) + len(t.serverName) + len(t.alpn) + len(t.chain.Value()) + len(t.appData) + len(t.opaque))
}

// acquire returns the slot of the profile for one more cell, and whether it is the first.
func (p *profiles) acquire(of *profile) (s slot, isNew bool) {
	if p.isLast(of) {
		p.cells[p.last]++
		return p.last, false
	}
	s, ok := p.index[of.traits]
	if !ok {
		s = p.allocate()
		(*p.table.Load())[s].Store(of)
		p.index[of.traits] = s
	}
	p.cells[s]++
	p.last = s
	return s, !ok
}

// isLast tells whether the profile is the one that was acquired last, which costs less than to find it in the index: many servers have
// few profiles.
func (p *profiles) isLast(of *profile) bool {
	table := *p.table.Load()
	if int(p.last) >= len(table) {
		return false
	}
	last := table[p.last].Load()
	return last == of || last != nil && last.traits == of.traits
}

func (p *profiles) allocate() slot {
	if last := len(p.free) - 1; last >= 0 {
		s := p.free[last]
		p.free = p.free[:last]
		return s
	}
	s := len(p.cells)
	p.cells = append(p.cells, 0)
	if s == len(*p.table.Load()) {
		p.grow()
	}
	return slot(s)
}

// grow makes the table twice as long. Who reads the former one has read slots that are in it.
func (p *profiles) grow() {
	table := *p.table.Load()
	longer := make([]atomic.Pointer[profile], max(2*len(table), 4))
	for i := range table {
		longer[i].Store(table[i].Load())
	}
	p.table.Store(&longer)
}

// release returns the profile if its last cell gave it up, else nil.
func (p *profiles) release(s slot) (released *profile) {
	if p.cells[s]--; p.cells[s] > 0 {
		return nil
	}
	released = (*p.table.Load())[s].Swap(nil)
	delete(p.index, released.traits)
	p.free = append(p.free, s)
	return released
}
