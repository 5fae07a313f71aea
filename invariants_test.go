package reprise

import (
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestInternalCacheInvariants: after whatever several goroutines have done, the parts of the internal cache agree with each other: cells,
// index, order of expiry, and the index of residents.
func TestInternalCacheInvariants(t *testing.T) {
	for range 4 {
		c := newInternalCache(800)
		tagOf := func(s *Session) storeTag { return storeTag(fingerprintOf(c.seed, &s.id)*0x9E3779B97F4A7C15) | 1 }
		c.residents.begin(tagOf)
		c.residents.setFollowing(true)
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for i := range 15_000 {
					disturb(t, c, tagOf, i)
				}
			})
		}
		work.Wait()
		checkInvariants(t, c)
		for {
			if _, removed := c.removeFirst(confirmed, noExpiry, RemovedExpired); !removed {
				break
			}
		}
		checkInvariants(t, c)
		if left := c.total.Load(); left != 0 {
			t.Errorf("%d sessions are left", left)
		}
	}
}

// disturb does something to a cache. Most sessions expire in the order in which they are made.
func disturb(t *testing.T, c *internalCache, tagOf func(*Session) storeTag, i int) {
	t.Helper()
	var id SessionID
	id.length = 8
	binary.BigEndian.PutUint64(id.bytes[:], rand.Uint64N(3000))
	p := SessionParams{
		ID: id, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32),
		Created: time.Unix(1_800_000_000, 0).Add(time.Duration(i) * time.Millisecond), Timeout: time.Hour,
	}
	if rand.IntN(10) == 0 {
		p.Timeout = time.Duration(1+rand.IntN(7200)) * time.Second
	}
	s, err := NewSession(p)
	if err != nil {
		t.Error(err)
		return
	}
	in := part(rand.IntN(2))
	since := c.moment(&s.id)
	switch rand.IntN(9) {
	case 0, 1:
		if c.reserve(in, func(*Session) {}) {
			c.settle(c.enter(s, in, true).announcement, rand.IntN(10) > 0)
		}
	case 2:
		s.residence.tag = tagOf(s)
		if c.reserve(in, func(*Session) {}) {
			c.adopt(s, in, since)
		}
	case 3:
		c.remove(&s.id, RemovedExplicitly)
	case 4:
		c.noted(tagOf(s))
	case 5:
		c.touch(&s.id, s.created)
	case 6:
		c.confirm(&s.id)
	case 7:
		s.residence.tag = tagOf(s)
		c.verified(s, since)
	case 8:
		c.removeFirst(in, s.created, RemovedExpired)
		switch {
		case rand.IntN(50) == 0:
			c.residents.setFollowing(rand.IntN(2) == 0)
		case rand.IntN(2000) == 0: // another binding
			c.residents.end()
			c.residents.setFollowing(false)
			c.residents.begin(tagOf)
		}
	}
}

// checkInvariants looks at all of a cache that nobody else uses.
func checkInvariants(t *testing.T, c *internalCache) {
	t.Helper()
	for i := range c.residents.shards {
		checkResidents(t, c, i)
	}
	total := 0
	for i := range c.shards {
		s := &c.shards[i]
		var inPart [2]int
		for n, chunk := range *s.cells.chunks.Load() {
			for k := range chunk.cells {
				cell := &chunk.cells[k]
				if cell.isFree() {
					continue
				}
				total++
				inPart[cell.part()]++
				at := slot(n<<chunkBits + k)
				session := s.session(cell)
				if e := s.entry(at); e.slot != at || e.expiry != session.expiry() {
					t.Fatalf("slot %d, which expires at %d, has the entry %+v", at, session.expiry(), e)
				}
				if s.index.find(s.fingerprint(at), &s.cells, &session.id) != at {
					t.Fatalf("slot %d is not in the index", at)
				}
			}
		}
		for p := range inPart {
			checkOrder(t, &s.order[p], inPart[p])
		}
	}
	if n := int(c.total.Load()); n != total {
		t.Fatalf("%d cells of %d sessions", total, n)
	}
}

// checkResidents: each place in the index is of a session that is there and has the tag, once.
func checkResidents(t *testing.T, c *internalCache, shard int) {
	t.Helper()
	index := &c.residents.shards[shard].index
	places := make(map[place]bool)
	for n := range index.buckets() {
		b := &index.buckets()[n]
		for i := range b.slots {
			if b.tag(i) == 0 {
				continue
			}
			at := place(b.slots[i].Load())
			tag := c.tagAt(at)
			if places[at] || tag == 0 || int(tag%numShards) != shard || tagOf(uint64(tag)) != b.tag(i) {
				t.Fatalf("shard %d has place %d of tag %#x", shard, at, tag)
			}
			places[at] = true
			if index.findBy(uint64(tag), func(p place) bool { return p == at }) != at {
				t.Fatalf("place %d is not found by its tag", at)
			}
		}
	}
	if len(places) != index.used {
		t.Fatalf("%d places, %d are counted", len(places), index.used)
	}
}

// checkOrder: an order has as many entries as there are cells, and its queue goes on from entry to entry.
func checkOrder(t *testing.T, o *expiryOrder, cells int) {
	t.Helper()
	live := 0
	for i := range o.queue.length() {
		e := *o.queue.at(o.queue.head + uint32(i))
		if i > 0 && e.before(*o.queue.at(o.queue.head + uint32(i-1))) {
			t.Fatalf("entry %d of the queue is before the one before", i)
		}
		if e.slot != noSlot {
			live++
		} else if i == 0 {
			t.Fatal("the first entry of the queue was removed")
		}
	}
	if live != o.queue.live || live+len(o.heap) != cells {
		t.Fatalf("%d entries in the queue, %d are counted; %d in the heap, of %d cells", live, o.queue.live, len(o.heap), cells)
	}
}
