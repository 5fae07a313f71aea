package reprise

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

func TestCellFillsCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(cell{}); size != 3*64 {
		t.Errorf("a cell has %d bytes", size)
	}
	if at := unsafe.Offsetof(sessionData{}.id); at%8 != 0 || at+unsafe.Sizeof(SessionID{}) != unsafe.Sizeof(sessionData{}) {
		t.Errorf("the ID is at byte %d of %d", at, unsafe.Sizeof(sessionData{}))
	}
	if size := unsafe.Sizeof(bucket{}); size != 64 {
		t.Errorf("a bucket has %d bytes", size)
	}
}

// TestChunkLength: chunks never become shorter, however many there are.
func TestChunkLength(t *testing.T) {
	for n, before := 0, firstChunk; n < 1000; n++ {
		length := chunkLength(n)
		if length < before || length > longestChunk || n < 8 && length != firstChunk<<n || n >= 8 && length != longestChunk {
			t.Fatalf("chunk %d has %d cells, the one before %d", n, length, before)
		}
		before = length
	}
}

// TestRemovedSecretsAreOverwritten looks into the memory of the cache, however the session left it.
func TestRemovedSecretsAreOverwritten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	c.SetSize(2)
	secret := bytes.Repeat([]byte{0xa5}, 48)
	add := func(id byte) *Session {
		s, err := NewSession(SessionParams{
			ID: SessionID{length: 1, bytes: [32]byte{id}}, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256,
			Secret: secret, Created: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add(s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	count := func() (n int) {
		for i := range c.internal.shards {
			for _, chunk := range *c.internal.shards[i].cells.chunks.Load() {
				cells := chunk.cells
				memory := unsafe.Slice((*byte)(unsafe.Pointer(&cells[0])), uintptr(len(cells))*unsafe.Sizeof(cells[0]))
				n += bytes.Count(memory, secret)
			}
		}
		return n
	}
	for id := range byte(10) { // evicted
		add(id)
	}
	if n := count(); n != 2 {
		t.Fatalf("%d secrets in memory with 2 sessions", n)
	}
	c.Remove(add(1))
	if n := count(); n != 1 {
		t.Errorf("%d secrets after Remove", n)
	}
	add(2)
	add(2) // replaced
	c.Flush(time.Time{})
	if n := count(); n != 0 {
		t.Errorf("%d secrets after Flush", n)
	}
}

// TestIndexDoesNotWearOff: however long sessions come and go in a full cache, a search for one that is not there ends, and
// soon. Were a bucket passed over that is not full any more, in the end all would be.
func TestIndexDoesNotWearOff(t *testing.T) {
	const buckets, taken = 64, 64 * slotsPerBucket / 8 * 7
	var x index
	x.init()
	known := make(map[slot]uint64)
	fingerprintOf := func(s slot) uint64 { return known[s] }
	for i := slot(0); i < 200*taken; i++ {
		if i >= taken { // the oldest goes
			x.remove(known[i-taken], i-taken, fingerprintOf)
			delete(known, i-taken)
		}
		known[i] = rand.Uint64()
		x.add(known[i], i, fingerprintOf)
	}
	if n := len(x.buckets()); n != buckets {
		t.Fatalf("%d buckets, want %d", n, buckets)
	}
	for n := range x.buckets() {
		b := &x.buckets()[n]
		hasRoom := false
		for i := range b.slots {
			hasRoom = hasRoom || b.tag(i) == 0
		}
		if hasRoom && b.overflow() > 0 {
			t.Errorf("bucket %d has room, and %d slots in later ones", n, b.overflow())
		}
	}
}

// TestIndex compares the index with a map, through growth, full buckets and removals.
func TestIndex(t *testing.T) {
	var x index
	x.init()
	known := make(map[slot]uint64)
	var cs cells
	cs.init()
	fingerprintOf := func(s slot) uint64 { return known[s] }
	id := func(s slot) *SessionID {
		return &SessionID{length: 4, bytes: [32]byte{byte(s), byte(s >> 8), byte(s >> 16), 1}}
	}
	check := func() {
		t.Helper()
		for s, fingerprint := range known {
			if got := x.find(fingerprint, &cs, id(s)); got != s {
				t.Fatalf("slot %d found as %d", s, got)
			}
		}
		if got := x.find(12345, &cs, &SessionID{length: 1}); got != noSlot {
			t.Fatalf("found slot %d for an ID that was not added", got)
		}
	}
	for i := range 5000 {
		s := cs.allocate()
		cs.at(s).store(&sessionData{id: *id(s)})
		// Few homes and few tags, so that buckets overflow.
		known[s] = uint64(i%7)*numShards | uint64(i%5)<<58
		if i%2 == 0 {
			known[s] = uint64(i) * 0x9e3779b97f4a7c15
		}
		x.add(known[s], s, fingerprintOf)
		if i%3 == 0 {
			for victim, fingerprint := range known { // any
				x.remove(fingerprint, victim, fingerprintOf)
				delete(known, victim)
				break
			}
		}
		if i%500 == 0 {
			check()
		}
	}
	check()
	for s, fingerprint := range known {
		x.remove(fingerprint, s, fingerprintOf)
	}
	for i := range x.buckets() {
		for j := range x.buckets()[i].tags {
			if x.buckets()[i].tags[j].Load() != 0 {
				t.Fatal("an empty index is not empty")
			}
		}
	}
}

// TestBytesAreBounded: clients with long chains do not fill the memory with few sessions, and push nobody out.
func TestBytesAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	c.SetSize(100)
	add := func(id byte, length int) error {
		s, err := NewSession(SessionParams{
			ID: SessionID{length: 1, bytes: [32]byte{id}}, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256,
			Secret: []byte{1}, Created: now, PeerCertificates: [][]byte{bytes.Repeat([]byte{id}, length)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c.Add(s)
	}
	refused := 0
	for id := range byte(90) {
		if add(id, 60_000) != nil {
			refused++
		}
	}
	if kept := 90 - refused; kept != 100*profileBytesPerSession/60_003 || c.Stats().Number != kept {
		t.Errorf("%d of 90 kept, %d there", kept, c.Stats().Number)
	}
	if err := add(1, 60_000); err != nil {
		t.Errorf("one that takes the place of its like: %v", err)
	}
	if err := add(200, 100); err != nil {
		t.Errorf("a short one: %v", err)
	}
	c.Flush(time.Time{})
	if n := c.internal.profileSize.Load(); n != 0 {
		t.Errorf("%d bytes in an empty cache", n)
	}
}

// TestNoSessionHasNoID: an empty place of the index may look like one of a cell that is free, which has the empty ID.
func TestNoSessionHasNoID(t *testing.T) {
	var x index
	x.init()
	var cs cells
	cs.init()
	free, taken := cs.allocate(), cs.allocate()
	cs.release(free)
	cs.at(taken).store(&sessionData{id: SessionID{length: 4}})
	for tag := range uint64(1 << 16) {
		fingerprint := tag << 48
		x.add(fingerprint, taken, nil)
		if at := x.find(fingerprint^1<<49, &cs, new(SessionID)); at != noSlot {
			t.Fatalf("found in slot %d", at)
		}
		if at := x.find(fingerprint, &cs, new(SessionID)); at != noSlot {
			t.Fatalf("found in slot %d", at)
		}
		x.remove(fingerprint, taken, func(slot) uint64 { return fingerprint })
	}
}
