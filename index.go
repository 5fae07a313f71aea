package reprise

import (
	"math/bits"
	"sync/atomic"

	"github.com/reprise-tls/reprise/internal/largepages"
)

// An index finds the slot of a cell by the fingerprint of its ID. It is an open-addressing hash table of buckets that
// fill a cache line each: a search reads one line, nearly always, before it reads the cell, and hardly ever another cell. It
// costs 6.4 bytes a place, of which 7/16 to 7/8 are taken; a map[uint64]slot costs 17. It may be searched while it changes: then
// the search ends, and what it has found means nothing.
type index struct {
	table atomic.Pointer[[]bucket]
	used  int
}

const slotsPerBucket = 10

type bucket struct {
	// tags are 16 bits of each fingerprint, 0 where the place is empty, four to a word. The upper half of the last word is the
	// overflow: how many slots lie in a later bucket because this one is full.
	tags  [3]atomic.Uint64
	slots [slotsPerBucket]atomic.Uint32
}

// newBuckets returns so many empty buckets, a power of two.
func newBuckets(n int) *[]bucket {
	buckets := make([]bucket, n)
	largepages.Advise(buckets)
	return &buckets
}

func (x *index) init() {
	x.table.Store(newBuckets(1))
	x.used = 0
}

func (x *index) buckets() []bucket { return *x.table.Load() }

// home returns the number of the bucket of so many where a fingerprint belongs. The lowest bits were spent on the choice of
// the shard.
func home(fingerprint uint64, buckets []bucket) int {
	return int(fingerprint/numShards) & (len(buckets) - 1)
}

func next(n int, buckets []bucket) int { return (n + 1) & (len(buckets) - 1) }

func distance(from, to int, buckets []bucket) int { return (to - from) & (len(buckets) - 1) }

func tagOf(fingerprint uint64) uint16 { return uint16(fingerprint>>48) | 1 }

// find returns the slot of the session id, noSlot if there is none.
func (x *index) find(fingerprint uint64, c *cells, id *SessionID) slot {
	s, _ := x.search(fingerprint, c, id)
	return s
}

// search returns the slot and the cell of the session id, noSlot and nil if there is none.
func (x *index) search(fingerprint uint64, c *cells, id *SessionID) (slot, *cell) {
	if id.length == 0 {
		return noSlot, nil // though a cell that is free has that ID
	}
	buckets := x.buckets()
	pattern := patternOf(fingerprint)
	n := home(fingerprint, buckets)
	for range buckets {
		b := &buckets[n]
		for matches := b.matches(pattern); matches != 0; matches &= matches - 1 {
			s := slot(b.slots[placeIn(matches)].Load())
			if cell := c.at(s); cell.has(id) {
				return s, cell
			}
		}
		if b.overflow() == 0 {
			break
		}
		n = next(n, buckets)
	}
	return noSlot, nil
}

// findBy returns the slot of a fingerprint that f says yes to, noSlot if there is none.
func (x *index) findBy(fingerprint uint64, f func(slot) bool) slot {
	buckets := x.buckets()
	pattern := patternOf(fingerprint)
	n := home(fingerprint, buckets)
	for range buckets {
		b := &buckets[n]
		for matches := b.matches(pattern); matches != 0; matches &= matches - 1 {
			i := placeIn(matches)
			if s := slot(b.slots[i].Load()); b.tag(i) != 0 && f(s) {
				return s
			}
		}
		if b.overflow() == 0 {
			break
		}
		n = next(n, buckets)
	}
	return noSlot
}

const (
	ones = 0x0001_0001_0001_0001
	tops = 0x8000_8000_8000_8000
)

// patternOf returns four times the tag.
func patternOf(fingerprint uint64) uint64 { return ones * uint64(tagOf(fingerprint)) }

// matches returns a word with a bit for each place that has the tag of the pattern, see placeIn. Where there is one, an empty
// place may seem to be another.
func (b *bucket) matches(pattern uint64) uint64 {
	v, w, x := b.tags[0].Load()^pattern, b.tags[1].Load()^pattern, b.tags[2].Load()^pattern
	return (v-ones)&^v&tops>>15 | (w-ones)&^w&tops>>14 | (x-ones)&^x&(tops>>32)>>13
}

// placeIn returns the place of the lowest bit of matches.
func placeIn(matches uint64) int {
	bit := bits.TrailingZeros64(matches)
	return bit%16*4 + bit/16
}

func (b *bucket) tag(i int) uint16 { return uint16(b.tags[i/4].Load() >> (i % 4 * 16)) }

func (b *bucket) overflow() uint32 { return uint32(b.tags[2].Load() >> 32) }

func (b *bucket) addOverflow(n int) { b.tags[2].Add(uint64(n) << 32) }

// set puts a slot and its tag into a place. Tag 0 empties it.
func (b *bucket) set(i int, tag uint16, s slot) {
	word, shift := &b.tags[i/4], i%4*16
	b.slots[i].Store(uint32(s))
	word.Store(word.Load()&^(0xffff<<shift) | uint64(tag)<<shift)
}

// add adds a slot. fingerprintOf tells the fingerprints of the others, which it needs to grow.
func (x *index) add(fingerprint uint64, s slot, fingerprintOf func(slot) uint64) {
	if buckets := x.buckets(); x.used >= len(buckets)*slotsPerBucket/8*7 {
		x.table.Store(grown(buckets, fingerprintOf))
	}
	x.used++
	add(x.buckets(), fingerprint, s)
}

func add(buckets []bucket, fingerprint uint64, s slot) {
	for n := home(fingerprint, buckets); ; n = next(n, buckets) {
		b := &buckets[n]
		for i := range b.slots {
			if b.tag(i) == 0 {
				b.set(i, tagOf(fingerprint), s)
				return
			}
		}
		b.addOverflow(1)
	}
}

// grown returns twice as many buckets with the same slots.
func grown(old []bucket, fingerprintOf func(slot) uint64) *[]bucket {
	buckets := newBuckets(2 * len(old))
	for i := range old {
		for j := range old[i].slots {
			if old[i].tag(j) != 0 {
				s := slot(old[i].slots[j].Load())
				add(*buckets, fingerprintOf(s), s)
			}
		}
	}
	return buckets
}

// remove takes out a slot, if it is there. Into its place comes one that had to go to a later bucket, and so on: a bucket
// with overflow is always full. As not all of them are, every search ends, and no later than if the slots of now had
// been the only ones ever.
func (x *index) remove(fingerprint uint64, s slot, fingerprintOf func(slot) uint64) {
	buckets := x.buckets()
	n, i, found := locate(buckets, fingerprint, s)
	if !found {
		return
	}
	x.used--
	for m := home(fingerprint, buckets); m != n; m = next(m, buckets) {
		buckets[m].addOverflow(-1)
	}
	for buckets[n].overflow() > 0 {
		later, j := displaced(buckets, n, fingerprintOf)
		buckets[n].set(i, buckets[later].tag(j), slot(buckets[later].slots[j].Load()))
		for ; n != later; n = next(n, buckets) {
			buckets[n].addOverflow(-1)
		}
		i = j
	}
	buckets[n].set(i, 0, 0)
}

// locate returns the bucket and the place of a slot, if it is there.
func locate(buckets []bucket, fingerprint uint64, s slot) (n, i int, found bool) {
	for n = home(fingerprint, buckets); ; n = next(n, buckets) {
		b := &buckets[n]
		for i := range b.slots {
			if b.tag(i) != 0 && slot(b.slots[i].Load()) == s {
				return n, i, true
			}
		}
		if b.overflow() == 0 {
			return 0, 0, false
		}
	}
}

// displaced returns the bucket and the place of a slot that lies behind bucket n because that was full.
func displaced(buckets []bucket, n int, fingerprintOf func(slot) uint64) (later, i int) {
	for later = next(n, buckets); ; later = next(later, buckets) {
		b := &buckets[later]
		for i := range b.slots {
			if b.tag(i) == 0 {
				continue
			}
			from := home(fingerprintOf(slot(b.slots[i].Load())), buckets)
			if distance(from, later, buckets) >= distance(n, later, buckets) {
				return later, i
			}
		}
	}
}
