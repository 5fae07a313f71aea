package reprise_test

import (
	"context"
	"math"
	"testing"

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
