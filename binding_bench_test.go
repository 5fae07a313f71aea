package reprise_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// benchmarkBinding binds a memory store and makes n sessions.
func benchmarkBinding(b *testing.B, n int) (*reprise.Cache, *reprise.StoreBinding, []*reprise.Session) {
	b.Helper()
	c, err := reprise.New(reprise.Options{Keys: reprise.RandomFleetKeys()})
	if err != nil {
		b.Fatal(err)
	}
	binding, err := reprise.BindStore(c, &memory.Store{}, reprise.StoreOptions{QueueLength: 1 << 30, QueueBytes: math.MaxInt})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { binding.Close(context.Background()) })
	sessions := make([]*reprise.Session, n)
	for i := range sessions {
		conn, err := c.Accept(b.Context(), anyInfo)
		if err != nil {
			b.Fatal(err)
		}
		if sessions[i], err = conn.NewSession(anyParams(), nil); err != nil {
			b.Fatal(err)
		}
	}
	return c, binding, sessions
}

// BenchmarkBindingPut is what one new session costs, the put by a writer included.
func BenchmarkBindingPut(b *testing.B) {
	c, binding, sessions := benchmarkBinding(b, 1000)
	announce := c.NewCallback()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		announce(c, sessions[i%len(sessions)])
	}
	if err := binding.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBindingGet is what a lookup in the store costs besides the store.
func BenchmarkBindingGet(b *testing.B) {
	c, binding, sessions := benchmarkBinding(b, 1000)
	for _, s := range sessions {
		c.NewCallback()(c, s)
	}
	if err := binding.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	get := c.GetCallback()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if s, err := get(b.Context(), sessions[i%len(sessions)].ID()); s == nil || err != nil {
			b.Fatal(s, err)
		}
	}
}

// BenchmarkResumption is what a TLS 1.3 resumption costs in a full cache, which evicts a session for the one that is made: from
// Accept to Complete, without a store and with one whose puts are free.
func BenchmarkResumption(b *testing.B) {
	for _, stored := range []bool{false, true} {
		b.Run(map[bool]string{false: "cache", true: "store"}[stored], func(b *testing.B) {
			c, err := reprise.New(reprise.Options{Keys: reprise.RandomFleetKeys()})
			if err != nil {
				b.Fatal(err)
			}
			if stored {
				binding, err := reprise.BindStore(c, &freeStore{}, reprise.StoreOptions{})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { binding.Close(context.Background()) })
			}
			session := benchmarkHandshake(b, c, nil)
			for range c.Size() {
				session = benchmarkHandshake(b, c, session)
			}
			b.ReportAllocs()
			for b.Loop() {
				session = benchmarkHandshake(b, c, session)
			}
		})
	}
}

// benchmarkHandshake makes a handshake that resumes a session, if it is not nil, and returns the one that it makes.
func benchmarkHandshake(b *testing.B, c *reprise.Cache, offered *reprise.Session) *reprise.Session {
	conn, err := c.Accept(b.Context(), anyInfo)
	if err != nil {
		b.Fatal(err)
	}
	if offered != nil {
		id := offered.ID()
		conn.Expect([]reprise.SessionID{id})
		s, reason := conn.Lookup(id.Bytes(), anyOffer)
		if reason != reprise.Resumed || conn.Take(s) != reprise.Resumed {
			b.Fatal(reason)
		}
		conn.Resumed(s)
	}
	session, err := conn.NewSession(anyParams(), nil)
	if err != nil {
		b.Fatal(err)
	}
	conn.Complete(true)
	return session
}

// A freeStore forgets what is put.
type freeStore struct{ memory.Store }

func (*freeStore) Put(context.Context, reprise.StoreKey, []byte, time.Duration) error { return nil }
func (*freeStore) PutBatch(_ context.Context, puts []reprise.StorePut, done func(int, error)) {
	for i := range puts {
		done(i, nil)
	}
}
func (*freeStore) BatchDelay() time.Duration { return 10 * time.Millisecond }
