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

// A clockNode is a node whose clock is ahead, or behind.
type clockNode struct {
	t       *testing.T
	cache   *reprise.Cache
	binding *reprise.StoreBinding
}

// newClockNodes makes two nodes with one store, the clock of the second of which is ahead of the first one's.
func newClockNodes(t *testing.T, ahead time.Duration) (a, b clockNode) {
	t.Helper()
	keys, store := reprise.RandomFleetKeys(), &memory.Store{}
	make := func(ahead time.Duration) clockNode {
		cache, err := reprise.New(reprise.Options{Keys: keys, Now: func() time.Time { return time.Now().Add(ahead) }})
		must(t, err)
		binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
		must(t, err)
		t.Cleanup(func() {
			must(t, binding.Close(t.Context()))
			cache.Close()
		})
		return clockNode{t, cache, binding}
	}
	return make(0), make(ahead)
}

// full makes a session, and waits until it is stored.
func (n clockNode) full(timeout time.Duration, maxEarlyData uint32) *reprise.Session {
	n.t.Helper()
	connection, err := n.cache.Accept(n.t.Context(), reprise.ConnectionInfo{})
	must(n.t, err)
	session, err := connection.NewSession(reprise.SessionParams{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32),
		Timeout: timeout, MaxEarlyData: maxEarlyData,
	}, nil)
	must(n.t, err)
	connection.Complete(true)
	must(n.t, n.binding.Flush(n.t.Context()))
	return session
}

// look looks for a session as a handshake does.
func (n clockNode) look(s *reprise.Session) reprise.Reason {
	n.t.Helper()
	connection, err := n.cache.Accept(n.t.Context(), reprise.ConnectionInfo{})
	must(n.t, err)
	defer connection.Release()
	id := s.ID()
	_, reason := connection.Lookup(id.Bytes(), reprise.Offer{
		Version: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	})
	return reason
}

// TestClocksDiffer: a session of one node that is fresh is not declined by another one whose clock differs, and it outlives its
// time by the difference at most.
func TestClocksDiffer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": skew, "behind": -skew} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const timeout = time.Hour
				a, b := newClockNodes(t, ahead)
				session := a.full(timeout, 0)
				if reason := b.look(session); reason != reprise.Resumed {
					t.Errorf("a fresh session: %v", reason)
				}
				time.Sleep(timeout - skew - time.Second)
				if reason := b.look(session); reason != reprise.Resumed {
					t.Errorf("before its time less the difference: %v", reason)
				}
				time.Sleep(2*skew + 2*time.Second)
				for _, n := range []clockNode{a, b} {
					if reason := n.look(session); reason == reprise.Resumed {
						t.Error("it outlives its time by more than the difference")
					}
				}
			})
		})
	}
}
