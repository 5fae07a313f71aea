package reprise

import (
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// followed returns an internal cache that a store tells of removals, with a session whose record has the tag.
func followed(t *testing.T, tag storeTag) (*internalCache, *Session) {
	t.Helper()
	c := newInternalCache(0)
	c.residents.begin(func(*Session) storeTag { return tag })
	c.residents.setFollowing(true)
	session, err := NewSession(SessionParams{
		ID: SessionID{length: 1, bytes: [32]byte{1}}, Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		Secret: make([]byte, 48), Created: time.Unix(1_800_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.reserve(confirmed, nil)
	e := c.enter(session, confirmed, true)
	if !e.entered {
		t.Fatal("the session did not enter")
	}
	c.settle(e.announcement, true)
	return c, session
}

// TestNotedSessionIsNotAdopted: a notice ends a residence for lookups too that began before it, and whose session has no tag
// because the application's get callback has found it elsewhere.
func TestNotedSessionIsNotAdopted(t *testing.T) {
	const tag = 7
	c, session := followed(t, tag)
	since := c.moment(&session.id)
	if c.noted(tag) == nil || c.contains(&session.id) {
		t.Fatal("the notice has removed no session")
	}
	c.reserve(confirmed, nil)
	if c.adopt(session, confirmed, since) {
		t.Error("a lookup of before the notice has brought the session back")
	}
	c.reserve(confirmed, nil)
	if !c.adopt(session, confirmed, c.moment(&session.id)) {
		t.Error("a lookup of after the notice finds it, and it does not enter")
	}
}

// TestPlaceOfAnotherSession: who leaves takes away no place but its own.
func TestPlaceOfAnotherSession(t *testing.T) {
	const tag = 7
	r := new(residents)
	r.init(func(place) storeTag { return tag })
	r.begin(func(*Session) storeTag { return tag })
	const first, second = place(33), place(65)
	r.add(tag, first)
	r.add(tag, second)
	r.add(tag, second) // is there already
	for range 2 {
		r.remove(tag, first)
		if at, resident := r.note(tag); !resident || at != second {
			t.Errorf("place %v, %v; want %v", at, resident, second)
		}
	}
	r.remove(tag, second)
	if at, resident := r.note(tag); resident {
		t.Errorf("place %v after its session has left", at)
	}
}

// TestNotedSince: as far as the notices are remembered it is known which tags they were of; before that, any may have been
// among them.
func TestNotedSince(t *testing.T) {
	const tag, other = numShards, 2 * numShards // of one shard
	r := new(residents)
	r.init(func(place) storeTag { return 0 })
	r.begin(func(*Session) storeTag { return 0 })
	now := func() moment { return moment{notices: r.notices.Load()} }
	start := now()
	r.note(other)
	if r.notedSince(tag, start) {
		t.Error("noted, after a notice of another tag")
	}
	for range recentNotices - 2 {
		r.note(other)
	}
	if r.notedSince(tag, start) {
		t.Error("noted, while all notices are remembered")
	}
	r.note(other)
	r.note(other)
	if !r.notedSince(tag, start) {
		t.Error("not noted, when one notice was forgotten")
	}
	recent := now()
	r.note(tag)
	if !r.notedSince(tag, recent) || r.notedSince(tag, now()) || r.notedSince(other, recent) {
		t.Error("a notice counts for its tag alone, and for moments before it")
	}
}

// TestNotedSessionIsNotVerified: what a lookup has found before a notice says nothing of the time after it.
func TestNotedSessionIsNotVerified(t *testing.T) {
	const tag = 7
	for _, noted := range []bool{true, false} {
		c, session := followed(t, tag)
		c.residents.setFollowing(false)
		c.residents.begin(func(*Session) storeTag { return tag }) // another binding, which knows no places
		c.residents.setFollowing(true)
		session.residence.tag = tag // as the store's get callback sets it
		since := c.moment(&session.id)
		if noted {
			c.noted(tag)
		}
		if !c.verified(session, since) {
			t.Fatal("the session is not resident")
		}
		var resident Session
		if c.load(&session.id, &resident); c.residents.trusts(&resident) == noted {
			t.Errorf("noted %v, and trusted %v", noted, noted)
		}
	}
}

// TestResidentsAreFound: a session is found by its tag from when it enters until it leaves, whatever else comes and goes.
func TestResidentsAreFound(t *testing.T) {
	c := newInternalCache(2000)
	c.residents.begin(func(s *Session) storeTag { return storeTag(fingerprintOf(c.seed, &s.id)) | 1 })
	c.residents.setFollowing(true)
	gone := make(map[storeTag]bool)
	noteGone := func(s *Session) { gone[s.residence.tag] = true }
	for n := range 10_000 {
		s := residentOfNumber(t, n)
		c.reserve(confirmed, noteGone)
		e := c.enter(s, confirmed, true)
		c.settle(e.announcement, true)
		if n%3 == 0 {
			if removed, ok := c.remove(&residentOfNumber(t, rand.IntN(n+1)).id, RemovedExplicitly); ok {
				noteGone(removed)
			}
		}
	}
	found := 0
	for n := range 10_000 {
		s := residentOfNumber(t, n)
		tag := c.residents.ofNew(s).tag
		if removed := c.noted(tag); (removed == nil) != gone[tag] || removed != nil && removed.id != s.id {
			t.Fatalf("session %d: found %v, gone %v", n, removed, gone[tag])
		} else if removed != nil {
			found++
		}
		if c.noted(tag) != nil {
			t.Fatalf("session %d is found again", n)
		}
	}
	if found+len(gone) != 10_000 || found < 1000 || c.total.Load() != 0 {
		t.Errorf("%d found, %d gone, %d left", found, len(gone), c.total.Load())
	}
}

func residentOfNumber(t *testing.T, n int) *Session {
	t.Helper()
	id := SessionID{length: 4}
	binary.BigEndian.PutUint32(id.bytes[:], uint32(n))
	s, err := NewSession(SessionParams{
		ID: id, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32), Created: time.Unix(1_800_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestResidentsOfOneFingerprint: tags that the index can't tell from each other are told by their cells, and an empty place of it is none.
func TestResidentsOfOneFingerprint(t *testing.T) {
	tags := map[place]storeTag{33: 1<<40 | numShards, 65: 2<<40 | numShards}
	r := new(residents)
	r.init(func(p place) storeTag { return tags[p] })
	r.begin(func(*Session) storeTag { return 0 })
	for p, tag := range tags {
		r.add(tag, p)
	}
	for p, tag := range tags {
		if at, resident := r.note(tag); !resident || at != p {
			t.Errorf("tag %#x at %v, %v; want %v", tag, at, resident, p)
		}
	}
	r.remove(tags[33], 0)
	if used := r.shard(tags[33]).index.used; used != 2 {
		t.Errorf("%d places, want 2", used)
	}
}

// TestVerifiedUnderAnotherTag: a session is not found by a tag that its cell does not have.
func TestVerifiedUnderAnotherTag(t *testing.T) {
	const tag, other = 7, 7 + numShards
	c, session := followed(t, tag)
	session.residence.tag = other
	if !c.verified(session, c.moment(&session.id)) {
		t.Fatal("the session is not resident")
	}
	if _, resident := c.residents.note(other); resident {
		t.Error("found by another tag")
	}
	c.remove(&session.id, RemovedExplicitly)
	for i := range c.residents.shards {
		if used := c.residents.shards[i].index.used; used != 0 {
			t.Errorf("%d places are left in the index", used)
		}
	}
}

// TestMostSessions: neither an unlimited cache nor one of a greater size holds more than places can tell apart.
func TestMostSessions(t *testing.T) {
	for _, limit := range []int64{0, mostSessions + 1} {
		c := newInternalCache(0)
		c.limit.Store(limit)
		c.total.Store(mostSessions)
		if c.tryReserve(confirmed) {
			t.Errorf("size %d: room for one more", limit)
		}
	}
}
