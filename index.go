package reprise

import (
	"encoding/binary"
	"math/bits"
)

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
	overflow uint32                // how many slots lie in a later bucket because this one is full
	slots    [slotsPerBucket]slot
}

func newIndex() index { return index{buckets: make([]bucket, 1)} }

// home returns the number of the bucket where a fingerprint belongs. The lowest bits were spent on the choice of the
// shard.
func (x *index) home(fingerprint uint64) int {
	return int(fingerprint/numShards) & (len(x.buckets) - 1)
}

func (x *index) next(n int) int { return (n + 1) & (len(x.buckets) - 1) }

func tagOf(fingerprint uint64) uint8 { return uint8(fingerprint>>56) | 1 }

// find returns the slot of the session id, noSlot if there is none.
func (x *index) find(fingerprint uint64, c *cells, id *SessionID) slot {
	tag := tagOf(fingerprint)
	for n := x.home(fingerprint); ; n = x.next(n) {
		b := &x.buckets[n]
		low, high := b.matches(tag)
		for ; low != 0; low &= low - 1 {
			if s := b.slots[bits.TrailingZeros64(low)/8]; c.at(s).id == *id {
				return s
			}
		}
		for ; high != 0; high &= high - 1 {
			if s := b.slots[8+bits.TrailingZeros64(high)/8]; c.at(s).id == *id {
				return s
			}
		}
		if b.overflow == 0 {
			return noSlot
		}
	}
}

// matches returns words whose lowest byte with its highest bit set is that of the first place that has the tag: low is about
// the first eight places, high about the others. Bytes further up may be set for places that have another tag.
func (b *bucket) matches(tag uint8) (low, high uint64) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	pattern := ones * uint64(tag)
	low = binary.LittleEndian.Uint64(b.tags[:]) ^ pattern // a byte of 0 for each match
	high = uint64(binary.LittleEndian.Uint32(b.tags[8:])) ^ pattern
	return (low - ones) &^ low & tops, (high - ones) &^ high & (tops >> 32)
}

// add adds a slot. fingerprintOf tells the fingerprints of the others, which it needs to grow.
func (x *index) add(fingerprint uint64, s slot, fingerprintOf func(slot) uint64) {
	if x.used >= len(x.buckets)*slotsPerBucket/8*7 {
		x.grow(fingerprintOf)
	}
	x.used++
	for n := x.home(fingerprint); ; n = x.next(n) {
		b := &x.buckets[n]
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

// remove takes out a slot that is there. Into its place comes one that had to go to a later bucket, and so on: a bucket
// with overflow is always full. As not all of them are, every search ends, and no later than if the slots of now had
// been the only ones ever.
func (x *index) remove(fingerprint uint64, s slot, fingerprintOf func(slot) uint64) {
	x.used--
	n, i := x.locate(fingerprint, s)
	for m := x.home(fingerprint); m != n; m = x.next(m) {
		x.buckets[m].overflow--
	}
	for x.buckets[n].overflow > 0 {
		later, j := x.displaced(n, fingerprintOf)
		x.buckets[n].tags[i], x.buckets[n].slots[i] = x.buckets[later].tags[j], x.buckets[later].slots[j]
		for ; n != later; n = x.next(n) {
			x.buckets[n].overflow--
		}
		i = j
	}
	x.buckets[n].tags[i] = 0
}

// locate returns the bucket and the place of a slot that is there.
func (x *index) locate(fingerprint uint64, s slot) (n, i int) {
	for n = x.home(fingerprint); ; n = x.next(n) {
		b := &x.buckets[n]
		for i, t := range b.tags {
			if t != 0 && b.slots[i] == s {
				return n, i
			}
		}
	}
}

// displaced returns the bucket and the place of a slot that lies behind bucket n because that was full.
func (x *index) displaced(n int, fingerprintOf func(slot) uint64) (later, i int) {
	for later = x.next(n); ; later = x.next(later) {
		b := &x.buckets[later]
		for i, t := range b.tags {
			if t != 0 && x.distance(x.home(fingerprintOf(b.slots[i])), later) >= x.distance(n, later) {
				return later, i
			}
		}
	}
}

func (x *index) distance(from, to int) int { return (to - from) & (len(x.buckets) - 1) }
