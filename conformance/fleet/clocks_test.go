package fleet_test

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// skew is by how much the clocks of two nodes differ in these tests.
const skew = 5 * time.Minute

// A cacheNode is what of a node has to do with sessions.
type cacheNode struct {
	t       *testing.T
	cache   *reprise.Cache
	binding *reprise.StoreBinding
}

// newClockNodes makes two nodes with one store, the clock of the second of which is ahead of the first one's.
func newClockNodes(t *testing.T, ahead time.Duration) (a, b cacheNode) {
	t.Helper()
	keys, store := reprise.RandomFleetKeys(), &memory.Store{}
	make := func(ahead time.Duration) cacheNode {
		cache, err := reprise.New(reprise.Options{Keys: keys, Now: func() time.Time { return time.Now().Add(ahead) }})
		must(t, err)
		binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
		must(t, err)
		t.Cleanup(func() {
			must(t, binding.Close(t.Context()))
			cache.Close()
		})
		return cacheNode{t, cache, binding}
	}
	return make(0), make(ahead)
}

// full makes a session, and waits until it is stored.
func (n cacheNode) full() *reprise.Session {
	n.t.Helper()
	connection, err := n.cache.Accept(n.t.Context(), reprise.ConnectionInfo{})
	must(n.t, err)
	session, err := connection.NewSession(reprise.SessionParams{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32),
		Timeout: lifetime,
	}, nil)
	must(n.t, err)
	connection.Complete(true)
	must(n.t, n.binding.Flush(n.t.Context()))
	return session
}

// look looks for a session as a handshake does, which completes if it keeps.
func (n cacheNode) look(s *reprise.Session, keeps bool) reprise.Reason {
	n.t.Helper()
	connection, err := n.cache.Accept(n.t.Context(), reprise.ConnectionInfo{})
	must(n.t, err)
	defer connection.Release()
	id := s.ID()
	found, reason := connection.Lookup(id.Bytes(), reprise.Offer{
		Version: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	})
	if found != nil && keeps {
		connection.Resumed(found)
		connection.Complete(true)
	}
	return reason
}

// TestClocksDiffer: a session of one node that is fresh is not declined by another one whose clock differs, and it outlives its
// time by the difference at most: where it was made and in the store not at all, in the internal cache of a node that is behind by that much.
func TestClocksDiffer(t *testing.T) {
	for _, test := range []struct {
		name  string
		ahead time.Duration // the second node
		keeps bool          // in its internal cache
		lives time.Duration // how long it resumes there
	}{
		{"ahead", skew, false, lifetime - skew},
		{"ahead, resident", skew, true, lifetime - skew},
		{"behind", -skew, false, lifetime},
		{"behind, resident", -skew, true, lifetime + skew},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newClockNodes(t, test.ahead)
				session := a.full()
				if reason := b.look(session, test.keeps); reason != reprise.Resumed {
					t.Errorf("a fresh session: %v", reason)
				}
				time.Sleep(test.lives - time.Second)
				if reason := b.look(session, test.keeps); reason != reprise.Resumed {
					t.Errorf("before its time: %v", reason)
				}
				time.Sleep(2 * time.Second)
				if reason := b.look(session, test.keeps); reason == reprise.Resumed {
					t.Errorf("it still resumes after %v", test.lives)
				}
				time.Sleep(max(0, lifetime-test.lives))
				if reason := a.look(session, test.keeps); reason == reprise.Resumed {
					t.Error("it outlives its time where it was made")
				}
			})
		})
	}
}

// lifetime is the timeout of the sessions.
const lifetime = time.Hour
