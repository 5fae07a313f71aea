package bench_test

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// deadStore is a store that fails at once, like a server that is gone.
type deadStore struct{}

var errDead = errors.New("dead")

func (deadStore) Put(context.Context, reprise.StoreKey, []byte, time.Duration) error { return errDead }

func (deadStore) Get(context.Context, reprise.StoreKey) ([]byte, bool, error) {
	return nil, false, errDead
}

func (deadStore) Take(context.Context, reprise.StoreKey) ([]byte, bool, error) {
	return nil, false, errDead
}
func (deadStore) Delete(context.Context, reprise.StoreKey) error { return errDead }

// BenchmarkQueueOfDeadStore fills the queue of writes to a store that is dead, and reports what memory that takes. Sessions that
// come then are dropped.
func BenchmarkQueueOfDeadStore(b *testing.B) {
	for b.Loop() {
		before := heap()
		cache, err := reprise.New(reprise.Options{Keys: reprise.RandomFleetKeys(), LookupTimeout: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		cache.SetMode(reprise.ModeServer | reprise.ModeNoInternal)
		binding, err := reprise.BindStore(cache, deadStore{}, reprise.StoreOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for binding.Stats().Breaker == reprise.BreakerClosed {
			look(b, cache)
		}
		for range 2 * reprise.DefaultQueueLength {
			full(b, cache)
		}
		stats := binding.Stats()
		if stats.PutsDropped == 0 || stats.Queued < reprise.DefaultQueueLength {
			b.Errorf("the queue is not full: %+v", stats)
		}
		used := heap() - before
		b.ReportMetric(float64(used)/(1<<20), "MB")
		b.ReportMetric(float64(used)/float64(stats.Queued), "B/put")
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		_ = binding.Close(ctx) // what is queued is lost
		runtime.KeepAlive(cache)
	}
}

// heap returns the bytes in use after a collection.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// full makes a full handshake's session.
func full(b *testing.B, cache *reprise.Cache) *reprise.Session {
	b.Helper()
	connection, err := cache.Accept(b.Context(), reprise.ConnectionInfo{ServerName: "www.example.com"})
	if err != nil {
		b.Fatal(err)
	}
	session, err := connection.NewSession(reprise.SessionParams{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32), ALPN: "h2",
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	connection.Complete(true)
	return session
}

// look looks for a session that the store may have.
func look(b *testing.B, cache *reprise.Cache) {
	b.Helper()
	connection, err := cache.Accept(b.Context(), reprise.ConnectionInfo{})
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Release()
	id, err := connection.NewID()
	if err != nil {
		b.Fatal(err)
	}
	connection.Lookup(id.Bytes(), reprise.Offer{Version: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}})
}
