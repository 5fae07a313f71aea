package reprise

import (
	"crypto/tls"
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
	c := newInternalCache(0)
	c.residents.begin(func(*Session) storeTag { return tag })
	first, second := place{1, 1}, place{1, 2}
	c.residents.add(tag, first)
	c.residents.add(tag, second)
	c.residents.remove(tag, first)
	if at, resident := c.residents.note(tag); !resident || at != second {
		t.Errorf("place %v, %v; want %v", at, resident, second)
	}
	c.residents.remove(tag, second)
	if at, resident := c.residents.note(tag); resident {
		t.Errorf("place %v after its session has left", at)
	}
}

// TestNotedSince: as far as the notices are remembered it is known which tags they were of; before that, any may have been
// among them.
func TestNotedSince(t *testing.T) {
	const tag, other = numShards, 2 * numShards // of one shard
	r := new(residents)
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
