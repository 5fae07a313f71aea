package reprise

// A cell is a session in the internal cache. It holds no pointer, so that the garbage collector passes over the memory
// of any number of sessions without looking into it, and fills three cache lines.
type cell struct {
	sessionData

	state   cellState
	profile slot   // in the shard's profiles
	rank    uint32 // in the order of expiry
	next    slot   // of the free cells
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

// cellsPerChunk makes a chunk of 24 KiB, which the allocator aligns to cache lines and rounds up by nothing.
const cellsPerChunk = 128

// cells is a slab of cells. They never move; freed ones are overwritten and used again.
type cells struct {
	chunks []*[cellsPerChunk]cell
	unused slot // first slot that was never used
	free   slot // first of the freed slots
}

func (c *cells) at(s slot) *cell { return &c.chunks[s/cellsPerChunk][s%cellsPerChunk] }

func (c *cells) allocate() slot {
	if c.free != noSlot {
		s := c.free
		c.free = c.at(s).next
		return s
	}
	s := c.unused
	if int(s/cellsPerChunk) == len(c.chunks) {
		c.chunks = append(c.chunks, new([cellsPerChunk]cell))
	}
	c.unused++
	return s
}

// release overwrites the cell, its secret above all, and frees its slot.
func (c *cells) release(s slot) {
	*c.at(s) = cell{next: c.free}
	c.free = s
}

// profiles is the table of profiles that the cells of a shard share, each with the number of cells that have it.
type profiles struct {
	entries []profileEntry
	index   map[profile]slot
	free    []slot
}

type profileEntry struct {
	profile *profile
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
	if s, ok := p.index[*of]; ok {
		p.entries[s].cells++
		return s, false
	}
	entry := profileEntry{profile: of, cells: 1}
	if last := len(p.free) - 1; last >= 0 {
		s = p.free[last]
		p.free = p.free[:last]
		p.entries[s] = entry
	} else {
		s = slot(len(p.entries))
		p.entries = append(p.entries, entry)
	}
	p.index[*of] = s
	return s, true
}

// release returns the profile if its last cell gave it up, else nil.
func (p *profiles) release(s slot) (released *profile) {
	entry := &p.entries[s]
	if entry.cells--; entry.cells > 0 {
		return nil
	}
	released = entry.profile
	delete(p.index, *released)
	*entry = profileEntry{}
	p.free = append(p.free, s)
	return released
}
