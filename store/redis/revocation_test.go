package redisstore_test

import (
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// revocationBound is how soon other nodes heed a revocation.
const revocationBound = 2 * time.Second

// A revoker is a node that revokes, and resumes as the only client there is.
type revoker struct {
	*reprise.Cache
	*reprise.StoreBinding
	t testing.TB
}

func newRevoker(t testing.TB, url string, keys *reprise.FleetKeys) *revoker {
	t.Helper()
	cache, err := reprise.New(reprise.Options{Keys: keys, Logger: slog.New(slog.DiscardHandler), LookupTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, open(t, url, secure(t)), reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &revoker{cache, binding, t}
}

func (r *revoker) end() {
	r.t.Helper()
	if err := r.StoreBinding.Close(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	_ = r.Cache.Close()
}

// connect makes a handshake that offers a session, if there is one, and returns the session that the client has then.
func (r *revoker) connect(offered *reprise.Session) (*reprise.Session, reprise.Reason) {
	r.t.Helper()
	conn, err := r.Accept(r.t.Context(), reprise.ConnectionInfo{ServerName: "www.example"})
	if err != nil {
		r.t.Fatal(err)
	}
	if offered != nil {
		offer := reprise.Offer{Version: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}}
		if s, reason := conn.Lookup(offered.ID().Bytes(), offer); reason == reprise.Resumed {
			conn.Resumed(s)
		}
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	s, err := conn.NewSession(reprise.SessionParams{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: secret}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	conn.Complete(true)
	if err := r.StoreBinding.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return s, conn.Reason()
}

// revokes makes sessions at two nodes and revokes them at one, which the other must heed. It returns the first of them.
func revokes(t *testing.T, a, b *revoker) *reprise.Session {
	t.Helper()
	first, _ := a.connect(nil)
	second, reason := b.connect(first)
	if reason != reprise.Resumed {
		t.Fatalf("on the other node: %v", reason)
	}
	third, _ := b.connect(second)
	before := b.StoreBinding.Stats().Revocations
	if err := a.Revoke(t.Context(), reprise.RevokeServerName("www.example")); err != nil {
		t.Fatal(err)
	}
	if _, reason := a.connect(third); reason != reprise.Revoked {
		t.Errorf("where it was revoked: %v", reason)
	}
	t.Logf("the other node has heard of it after %v", b.hears(before))
	if _, reason := b.connect(second); reason != reprise.Revoked {
		t.Errorf("on the other node: %v", reason)
	}
	return first
}

// hears waits until the node knows of more revocations than before, and returns how long that was.
func (r *revoker) hears(before int) time.Duration {
	r.t.Helper()
	begun := time.Now()
	for r.StoreBinding.Stats().Revocations == before {
		if time.Since(begun) > revocationBound {
			r.t.Fatalf("the other node has not heard of it after %v", revocationBound)
		}
		time.Sleep(50 * time.Microsecond)
	}
	return time.Since(begun)
}

// TestRevocation: what one node has revoked another declines within the bound, with what descends from it; after restarts of both
// and of Redis too, with its data and without.
func TestRevocation(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"with its data": nil, "empty": {"appendonly no"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, args...)
			url, keys := server.URL(), reprise.RandomFleetKeys()
			a, b := newRevoker(t, url, keys), newRevoker(t, url, keys)
			defer a.end()
			first := revokes(t, a, b)
			fresh, _ := b.connect(nil)

			b.end()
			server.Kill()
			server.Restart()
			for end := time.Now().Add(10 * time.Second); a.Revoke(t.Context(), reprise.RevokeContext([]byte("other"))) != nil; {
				if time.Now().After(end) {
					t.Fatal("Redis is not reached again")
				}
				time.Sleep(10 * time.Millisecond)
			}
			c := newRevoker(t, url, keys)
			defer c.end()
			if n := c.StoreBinding.Stats().Revocations; n != 2 {
				t.Errorf("a new node knows %d revocations, want 2", n)
			}
			if _, reason := c.connect(first); reason != reprise.Revoked && reason != reprise.Unknown {
				t.Errorf("after the restarts: %v", reason)
			}
			if _, reason := c.connect(fresh); reason == reprise.Revoked || len(args) == 0 && reason != reprise.Resumed {
				t.Errorf("a session of after the revocation: %v", reason)
			}
		})
	}
}
