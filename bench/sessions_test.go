package bench

import (
	"crypto/rand"
	"crypto/tls"
	"syscall"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// BenchmarkNewSession measures what a new session costs from its birth until it is in the store. The store works behind
// the handshakes, so it is CPU time of the process that counts, not the time that a call takes.
func BenchmarkNewSession(b *testing.B) {
	stores := []struct {
		name string
		open func(b *testing.B) reprise.Store
	}{
		{"none", nil},
		{"memory", func(*testing.B) reprise.Store { return new(memory.Store) }},
		{"embedded", func(b *testing.B) reprise.Store {
			s, err := pebblestore.Open(b.TempDir(), pebblestore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			return s
		}},
	}
	for _, store := range stores {
		b.Run("store="+store.name, func(b *testing.B) {
			cache := newCache(b)
			flush := func() {}
			if store.open != nil {
				binding, err := reprise.BindStore(cache, store.open(b), reprise.StoreOptions{})
				if err != nil {
					b.Fatal(err)
				}
				defer binding.Close(b.Context())
				flush = func() {
					if err := binding.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			before := processCPU(b)
			for i := 0; b.Loop(); i++ {
				newSession(b, cache)
				if i%1000 == 999 { // the queue must not overflow
					flush()
				}
			}
			flush()
			b.ReportMetric(float64(processCPU(b)-before)/float64(b.N), "CPU-ns/op")
		})
	}
}

func newCache(b *testing.B) *reprise.Cache {
	secret := make([]byte, reprise.FleetKeyLength)
	rand.Read(secret)
	keys, err := reprise.NewFleetKeys(secret)
	if err != nil {
		b.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	return cache
}

func newSession(b *testing.B, cache *reprise.Cache) {
	conn, err := cache.Accept(b.Context(), reprise.ConnectionInfo{ServerName: "bench.example"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.NewSession(reprise.SessionParams{
		Version:     tls.VersionTLS13,
		CipherSuite: tls.TLS_AES_128_GCM_SHA256,
		Secret:      make([]byte, 32),
	}, nil); err != nil {
		b.Fatal(err)
	}
	conn.Complete(true)
}

// processCPU returns the CPU time that the process has used, in nanoseconds.
func processCPU(b *testing.B) int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
