package reprise

// An index finds the slot of a cell by the fingerprint of its ID. It is an open-addressing hash table of buckets that
// fill a cache line each: a search reads one line, nearly always, before it reads the cell. It costs 5.3 bytes a place, of which
// 7/16 to 7/8 are taken; a map[uint64]slot costs 17.
type index struct {
	buckets []bucket
	used    int
}

const slotsPerBucket = 12

type bucket struct {
	tags     [slotsPerBucket]uint8 // a byte of each fingerprint, 0 where the place is empty
	overflow uint32                // how many slots lie in a later bucket because this one was full
	slots    [slotsPerBucket]slot
}

func newIndex() index { return index{buckets: make([]bucket, 1)} }

// bucket returns the bucket of a fingerprint, or the n-th behind it. The lowest bits were spent on the choice of the
// shard.
func (x *index) bucket(fingerprint uint64, n int) *bucket {
	return &x.buckets[(int(fingerprint/numShards)+n)&(len(x.buckets)-1)]
}

func tagOf(fingerprint uint64) uint8 { return uint8(fingerprint>>56) | 1 }

// find returns the slot of the session id, noSlot if there is none.
func (x *index) find(fingerprint uint64, c *cells, id *SessionID) slot {
	tag := tagOf(fingerprint)
	for n := 0; ; n++ {
		b := x.bucket(fingerprint, n)
		for i, t := range b.tags {
			if t != tag {
				continue
			}
			if cell := c.at(b.slots[i]); cell.id == id.bytes && cell.idLength == id.length {
				return b.slots[i]
			}
		}
		if b.overflow == 0 {
			return noSlot
		}
	}
}

// add adds a slot. fingerprintOf tells the fingerprints of the others, which it needs to grow.
func (x *index) add(fingerprint uint64, s slot, fingerprintOf func(slot) uint64) {
	if x.used >= len(x.buckets)*slotsPerBucket/8*7 {
		x.grow(fingerprintOf)
	}
	x.used++
	for n := 0; ; n++ {
		b := x.bucket(fingerprint, n)
		for i, t := range b.tags {
			if t == 0 {
				b.tags[i], b.slots[i] = tagOf(fingerprint), s
				return
			}
		}
		b.overflow++
	}
}

func (x *index) grow(fingerprintOf func(slot) uint64) {
	old := x.buckets
	*x = index{buckets: make([]bucket, 2*len(old))}
	for i := range old {
		for j, t := range old[i].tags {
			if t != 0 {
				x.add(fingerprintOf(old[i].slots[j]), old[i].slots[j], fingerprintOf)
			}
		}
	}
}

// remove takes out a slot that is there.
func (x *index) remove(fingerprint uint64, s slot) {
	x.used--
	for n := 0; ; n++ {
		b := x.bucket(fingerprint, n)
		for i, t := range b.tags {
			if t != 0 && b.slots[i] == s {
				b.tags[i] = 0
				return
			}
		}
		b.overflow--
	}
}
