package reprise

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestExpiryOrder: whatever enters and leaves, in order or not, the first entry is the first of all, each is found by its slot, and
// the queue does not outgrow what lives in it. Serials and positions wrap around meanwhile.
func TestExpiryOrder(t *testing.T) {
	const cellsUsed = 300
	for _, inOrder := range []float64{0, 0.5, 0.95, 1} {
		var c cells
		c.init()
		o := expiryOrder{queue: expiryQueue{head: math.MaxUint32 - 1000, tail: math.MaxUint32 - 1000}}
		serial := uint32(math.MaxUint32 - 500)
		now := milliseconds(0)
		var free []slot
		for range cellsUsed {
			free = append(free, c.extend())
		}
		var in []orderEntry
		for range 100_000 {
			now += milliseconds(rand.IntN(2))
			if len(free) > 0 && (len(in) == 0 || rand.IntN(2) == 0) {
				e := orderEntry{expiry: now + 1000, serial: serial, slot: free[len(free)-1]}
				free = free[:len(free)-1]
				if rand.Float64() >= inOrder {
					e.expiry -= milliseconds(rand.IntN(1000))
				}
				serial++
				o.push(&c, e)
				in = append(in, e)
			} else {
				i := rand.IntN(len(in))
				if rand.IntN(2) == 0 {
					i = slices.Index(in, slices.MinFunc(in, compareOrder))
				}
				o.remove(&c, in[i].slot)
				free = append(free, in[i].slot)
				in = slices.Delete(in, i, i+1)
			}
			first, ok := o.first()
			if ok != (len(in) > 0) || ok && first != slices.MinFunc(in, compareOrder) {
				t.Fatalf("the first of %d entries is %+v, %v", len(in), first, ok)
			}
			for _, e := range in {
				if got := o.entry(&c, e.slot); got != e {
					t.Fatalf("slot %d has the entry %+v, want %+v", e.slot, got, e)
				}
			}
		}
		if len(o.queue.ring) > 4*cellsUsed {
			t.Errorf("a ring of %d for %d entries", len(o.queue.ring), cellsUsed)
		}
		if inOrder == 1 && cap(o.heap) > 0 {
			t.Error("entries in order went to the heap")
		}
	}
}

func compareOrder(e, f orderEntry) int {
	if e.before(f) {
		return -1
	}
	return 1
}

// TestExpiryQueue: neither an entry that stays first nor one that was the last leaves the others a ring without end, or the heap.
func TestExpiryQueue(t *testing.T) {
	var c cells
	c.init()
	var o expiryOrder
	first, passing, next := c.extend(), c.extend(), c.extend()
	o.push(&c, orderEntry{expiry: 1, slot: first})
	o.push(&c, orderEntry{expiry: 2, slot: passing})
	for i := range 100_000 {
		o.push(&c, orderEntry{expiry: milliseconds(3 + i), slot: next})
		o.remove(&c, passing)
		passing, next = next, passing
	}
	o.push(&c, orderEntry{expiry: 1e9, slot: next})
	o.remove(&c, next)
	o.push(&c, orderEntry{expiry: 1e6, slot: next})
	if len(o.queue.ring) > 16 || len(o.heap) > 0 {
		t.Errorf("a ring of %d, a heap of %d", len(o.queue.ring), len(o.heap))
	}
}
