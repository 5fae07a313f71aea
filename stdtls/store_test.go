package stdtls_test

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A countingStore counts what is asked of a store.
type countingStore struct {
	reprise.Store
	gets, takes atomic.Int32
}

func (s *countingStore) Get(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *countingStore) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	s.takes.Add(1)
	return s.Store.Take(ctx, key)
}

// newStoredCache returns a cache that is bound to store under keys.
func newStoredCache(t *testing.T, o reprise.Options, store reprise.Store) (*reprise.Cache, *reprise.StoreBinding) {
	t.Helper()
	cache := newCache(t, o)
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { binding.Close(context.Background()) })
	return cache, binding
}

// TestForgedIDReachesNoStore: hostile ClientHellos cause no calls of the store, whatever they offer.
func TestForgedIDReachesNoStore(t *testing.T) {
	keys, err := reprise.NewFleetKeys(random(32))
	if err != nil {
		t.Fatal(err)
	}
	store := &countingStore{Store: new(memory.Store)}
	cache, _ := newStoredCache(t, reprise.Options{Keys: keys}, store)
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	for range 10 {
		for _, h := range []hello{
			{version: tls.VersionTLS13, identities: randomIdentities(5)},
			{version: tls.VersionTLS12, ticket: random(32)},
			{version: tls.VersionTLS12, ticket: random(31)},
			{version: tls.VersionTLS12, ticket: random(200)},
		} {
			if answer := h.send(t, addr); !isServerHello(answer) {
				t.Fatalf("answer %x", answer)
			}
		}
	}
	if gets, takes := store.gets.Load(), store.takes.Load(); gets != 0 || takes != 0 {
		t.Errorf("%d gets, %d takes; want none", gets, takes)
	}
}

// TestResumesFromAStore: after a restart with an empty internal cache, from a store and the fleet keys.
func TestResumesFromAStore(t *testing.T) {
	for _, singleUse := range []bool{false, true} {
		forEachVersion(t, func(t *testing.T, version uint16) {
			keys, err := reprise.NewFleetKeys(random(32))
			if err != nil {
				t.Fatal(err)
			}
			store := new(memory.Store)
			options := reprise.Options{Keys: keys, SingleUse: singleUse}
			c := newClient(t, version)
			for _, resumed := range []bool{false, true, true} {
				cache, binding := newStoredCache(t, options, store)
				config := serverConfig(t)
				attach(t, config, cache)
				c.expect(serve(t, config), resumed)
				if err := binding.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := cache.Close(); err != nil {
					t.Fatal(err)
				}
				if err := binding.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
