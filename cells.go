package reprise

// A cell is a session in the internal cache. It holds no pointer, so that the garbage collector passes over the memory
// of any number of sessions without looking into it.
type cell struct {
	id        [MaxSessionIDLength]byte
	secret    [maxSecretLength]byte
	lineageID [16]byte

	created, timeout         milliseconds
	lineageStart, lineageEnd milliseconds

	residence residence

	generation   uint32
	ticketAgeAdd uint32
	maxEarlyData uint32

	profile slot   // in the shard's profiles
	rank    uint32 // in the order of expiry
	next    slot   // of the free cells

	version, cipherSuite, group uint16

	idLength, secretLength uint8
	flags                  sessionFlags
	state                  cellState

	_ [8]byte // up to three cache lines
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

// store writes a session into the cell, apart from what the shard keeps there itself.
func (c *cell) store(s *Session) {
	c.id = s.id.bytes
	c.idLength = s.id.length
	c.secret = s.secret
	c.secretLength = s.secretLength
	c.flags = s.flags
	c.version = s.version
	c.cipherSuite = s.cipherSuite
	c.group = s.group
	c.ticketAgeAdd = s.ticketAgeAdd
	c.maxEarlyData = s.maxEarlyData
	c.created = s.created
	c.timeout = s.timeout
	c.lineageID = s.lineage.id
	c.lineageStart = s.lineage.start
	c.lineageEnd = s.lineage.end
	c.generation = s.lineage.generation
}

// load reads the cell's session into s.
func (c *cell) load(s *Session, p *profile) {
	s.id = SessionID{length: c.idLength, bytes: c.id}
	s.secret = c.secret
	s.secretLength = c.secretLength
	s.flags = c.flags
	s.version = c.version
	s.cipherSuite = c.cipherSuite
	s.group = c.group
	s.ticketAgeAdd = c.ticketAgeAdd
	s.maxEarlyData = c.maxEarlyData
	s.created = c.created
	s.timeout = c.timeout
	s.lineage = lineage{id: c.lineageID, start: c.lineageStart, end: c.lineageEnd, generation: c.generation}
	s.profile = p
	s.residence = c.residence
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
