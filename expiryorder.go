package reprise

// An expiryOrder is the cells of one part of a shard, the first to expire first, the one that entered earlier among equals. Sessions
// nearly always expire in the order in which they enter, since their timeouts are the same: those that do lie in a queue, whose both
// ends are in the processor's cache, and the others in a heap.
type expiryOrder struct {
	queue expiryQueue
	heap  expiryHeap
}

type orderEntry struct {
	expiry milliseconds
	serial uint32 // order of entry; wraps around
	slot   slot   // noSlot: the entry was removed from a queue
}

// before tells whether e goes before f. Serials are compared across their wrap-around: two entries that expire in the
// same millisecond never lie 2^31 entries apart.
func (e orderEntry) before(f orderEntry) bool {
	if e.expiry != f.expiry {
		return e.expiry < f.expiry
	}
	return int32(e.serial-f.serial) < 0
}

// A rank is where the entry of a cell is: its place in the heap, or its position in the queue and this bit. What moves an entry sets it.
const rankInQueue = 1 << 31

// first returns the first entry, if there is one.
func (o *expiryOrder) first() (first orderEntry, ok bool) {
	switch {
	case o.queue.isEmpty() && len(o.heap) == 0:
		return orderEntry{}, false
	case o.queue.isEmpty() || len(o.heap) > 0 && o.heap[0].before(*o.queue.at(o.queue.head)):
		return o.heap[0], true
	}
	return *o.queue.at(o.queue.head), true
}

// entry returns the entry of a slot.
func (o *expiryOrder) entry(c *cells, s slot) orderEntry {
	rank := *c.rank(s)
	if rank&rankInQueue != 0 {
		return *o.queue.at(rank)
	}
	return o.heap[rank]
}

func (o *expiryOrder) push(c *cells, e orderEntry) {
	if !o.queue.push(c, e) {
		o.heap.push(c, e)
	}
}

// remove takes out the entry of a slot.
func (o *expiryOrder) remove(c *cells, s slot) {
	rank := *c.rank(s)
	if rank&rankInQueue != 0 {
		o.queue.remove(rank)
		return
	}
	o.heap.remove(c, int(rank))
}

// An expiryQueue is entries in their order, in a ring. Positions count up and wrap around. An entry that is removed from between others stays,
// with noSlot, until it is the first or the last, or the ring is full.
type expiryQueue struct {
	ring       []orderEntry // its length is a power of two, or 0
	head, tail uint32       // positions of the first entry and behind the last one
	live       int          // entries with a slot
}

func (q *expiryQueue) at(position uint32) *orderEntry { return &q.ring[int(position)&(len(q.ring)-1)] }

func (q *expiryQueue) isEmpty() bool { return q.live == 0 }

func (q *expiryQueue) length() int { return int(q.tail - q.head) }

// push adds an entry behind the last one, and reports false if it belongs before that.
func (q *expiryQueue) push(c *cells, e orderEntry) bool {
	if !q.isEmpty() && e.before(*q.at(q.tail - 1)) {
		return false
	}
	if q.length() == len(q.ring) {
		q.makeRoom(c)
	}
	q.put(c, e)
	return true
}

func (q *expiryQueue) put(c *cells, e orderEntry) {
	*q.at(q.tail) = e
	*c.rank(e.slot) = q.tail | rankInQueue
	q.tail++
	q.live++
}

// makeRoom moves the entries together: into a ring of twice the length if more than half of them are live, else within the ring, which
// overwrites none that was not moved yet.
func (q *expiryQueue) makeRoom(c *cells) {
	old := *q
	q.tail, q.live = q.head, 0
	if 2*old.live >= len(old.ring) {
		q.ring = make([]orderEntry, max(2*len(old.ring), 4))
	}
	for i := range old.length() {
		if e := *old.at(old.head + uint32(i)); e.slot != noSlot {
			q.put(c, e)
		}
	}
}

// remove takes out the entry at a position.
func (q *expiryQueue) remove(position uint32) {
	q.at(position).slot = noSlot
	q.live--
	for q.length() > 0 && q.at(q.head).slot == noSlot {
		q.head++
	}
	for q.length() > 0 && q.at(q.tail-1).slot == noSlot { // or those to come would all go to the heap
		q.tail--
	}
}

// An expiryHeap is entries with the first on top. Each has four below it, which are together in the processor's cache.
type expiryHeap []orderEntry

const entriesBelow = 4

func (h *expiryHeap) push(c *cells, e orderEntry) {
	*h = append(*h, e)
	h.up(c, len(*h)-1)
}

// remove takes out the entry in a place.
func (h *expiryHeap) remove(c *cells, i int) {
	last := len(*h) - 1
	moved := (*h)[last]
	*h = (*h)[:last]
	if i == last {
		return
	}
	(*h)[i] = moved
	if !h.down(c, i) {
		h.up(c, i)
	}
}

func (h expiryHeap) up(c *cells, i int) {
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

func (h expiryHeap) down(c *cells, i int) (moved bool) {
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

func (h expiryHeap) set(c *cells, i int, e orderEntry) {
	h[i] = e
	*c.rank(e.slot) = uint32(i)
}
