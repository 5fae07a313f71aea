package reprise

// An expiryOrder is a heap of the cells of one part of a shard: the first to expire on top, the one that entered
// earlier among equals. Each entry has four below it, which are together in the processor's cache.
type expiryOrder []orderEntry

const entriesBelow = 4

type orderEntry struct {
	expiry milliseconds
	serial uint32 // order of entry; wraps around
	slot   slot
}

// before tells whether e goes before f. Serials are compared across their wrap-around: two entries that expire in the
// same millisecond never lie 2^31 entries apart.
func (e orderEntry) before(f orderEntry) bool {
	if e.expiry != f.expiry {
		return e.expiry < f.expiry
	}
	return int32(e.serial-f.serial) < 0
}

// push and the other methods keep the rank of each cell, which is its place in the heap.
func (o *expiryOrder) push(c *cells, e orderEntry) {
	*o = append(*o, e)
	o.up(c, len(*o)-1)
}

// remove takes out the entry of a slot.
func (o *expiryOrder) remove(c *cells, s slot) {
	h := *o
	rank := *c.rank(s)
	last := len(h) - 1
	moved := h[last]
	*o = h[:last]
	if int(rank) == last {
		return
	}
	h[rank] = moved
	if !o.down(c, int(rank)) {
		o.up(c, int(rank))
	}
}

func (o *expiryOrder) up(c *cells, i int) {
	h := *o
	e := h[i]
	for i > 0 {
		parent := (i - 1) / entriesBelow
		if !e.before(h[parent]) {
			break
		}
		h.set(c, i, h[parent])
		i = parent
	}
	h.set(c, i, e)
}

func (o *expiryOrder) down(c *cells, i int) (moved bool) {
	h := *o
	e := h[i]
	start := i
	for {
		child := entriesBelow*i + 1
		if child >= len(h) {
			break
		}
		for other := child + 1; other < min(entriesBelow*(i+1)+1, len(h)); other++ {
			if h[other].before(h[child]) {
				child = other
			}
		}
		if !h[child].before(e) {
			break
		}
		h.set(c, i, h[child])
		i = child
	}
	h.set(c, i, e)
	return i != start
}

func (o expiryOrder) set(c *cells, i int, e orderEntry) {
	o[i] = e
	*c.rank(e.slot) = uint32(i)
}
