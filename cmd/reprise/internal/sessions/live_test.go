package sessions_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
	"github.com/reprise-tls/reprise/store/memory"
)

// newLive returns a cache with n sessions behind a store.
func newLive(t *testing.T, n int) *sessions.Live {
	t.Helper()
	return newLiveWith(t, n, &memory.Store{})
}

func newLiveWith(t *testing.T, n int, store reprise.Store) *sessions.Live {
	t.Helper()
	cache, err := reprise.New(reprise.Options{Keys: keysOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = binding.Close(t.Context()); _ = cache.Close() })
	for range n {
		addSession(t, cache)
	}
	if err := binding.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &sessions.Live{Cache: cache, Binding: binding, Store: sessions.Stored{Store: store, Skip: stores.KeyMark}}
}

func keysOf(t *testing.T) *reprise.FleetKeys {
	t.Helper()
	keys, err := reprise.NewFleetKeys(make([]byte, reprise.FleetKeyLength))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func addSession(t *testing.T, cache *reprise.Cache) {
	t.Helper()
	conn, err := cache.Accept(t.Context(), reprise.ConnectionInfo{ServerName: "a.example", RemoteAddr: &net.TCPAddr{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.NewSession(reprise.SessionParams{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
}

func one(t *testing.T, s sessions.Source) sessions.Entry {
	t.Helper()
	for entry, err := range s.All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	t.Fatal("no session")
	return sessions.Entry{}
}

func TestLiveKnowsCacheAndStore(t *testing.T) {
	l := newLive(t, 3)
	if n := count(t, l, ""); n != 3 {
		t.Errorf("%d sessions, want 3", n)
	}
	entry := one(t, l)
	if !entry.Cached || !entry.Stored || entry.Details == nil || entry.ServerName != "a.example" || entry.Header == nil {
		t.Errorf("a session of both: %+v", entry)
	}
	if _, err := sessions.Find(t.Context(), l, entry.StoreKey); err != nil {
		t.Errorf("by its whole store key: %v", err)
	}

	l.Cache.Flush(time.Time{})
	if entry := one(t, l); entry.Cached || !entry.Stored || entry.Details != nil || entry.Created.IsZero() {
		t.Errorf("a session of the store only: %+v", entry)
	}

	l = newLive(t, 1)
	if _, err := l.Store.Flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if entry := one(t, l); !entry.Cached || entry.Stored || entry.Header != nil {
		t.Errorf("a session of the cache only: %+v", entry)
	}
}

// TestLiveRemove: a session that was removed is in neither.
func TestLiveRemove(t *testing.T) {
	l := newLive(t, 2)
	name := one(t, l).Session
	if entry, err := l.Remove(t.Context(), name); err != nil || entry.Session != name {
		t.Fatalf("Remove(%s) = %v, %v", name, entry, err)
	}
	if n := count(t, l.Store, name); n != 0 {
		t.Error("still in the store")
	}
	if n := l.Cache.Stats().Number; n != 1 || count(t, l, "") != 1 {
		t.Errorf("%d in the cache, want the other one", n)
	}
}

// A patientStore gathers puts for an hour.
type patientStore struct{ memory.Store }

func (*patientStore) BatchDelay() time.Duration { return time.Hour }

func (s *patientStore) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
	for i, p := range puts {
		done(i, s.Put(ctx, p.Key, p.Record, p.Lifetime))
	}
}

// TestLiveShowsWhatIsQueued as stored: a list waits for no batch.
func TestLiveShowsWhatIsQueued(t *testing.T) {
	l := newLiveWith(t, 1, new(patientStore))
	addSession(t, l.Cache)
	stored := 0
	for entry, err := range l.All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Stored {
			stored++
		}
	}
	if stored != 2 {
		t.Errorf("%d of 2 sessions are shown as stored", stored)
	}
}

func TestLiveFlush(t *testing.T) {
	l := newLive(t, 5)
	if f, err := l.Flush(t.Context(), true); err != nil || f != (sessions.Flushed{}) {
		t.Errorf("Flush(expired) = %v, %v", f, err)
	}
	if f, err := l.Flush(t.Context(), false); err != nil || f != (sessions.Flushed{Cached: 5, Stored: 5}) {
		t.Errorf("Flush = %v, %v", f, err)
	}
	if n := count(t, l, ""); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestLiveWithDeadStore: the sessions of the internal cache are shown, and that there may be more.
func TestLiveWithDeadStore(t *testing.T) {
	l := newLive(t, 2)
	l.Store.Store = deadStore{l.Store.Store}
	var last error
	n := 0
	for entry, err := range l.All(t.Context(), "") {
		if last = err; err == nil {
			n++
			if !entry.Cached || entry.Details == nil {
				t.Errorf("a session of the cache: %+v", entry)
			}
		}
	}
	if n != 2 || !errors.Is(last, errDead) {
		t.Errorf("%d sessions, then %v; want 2, then the store's error", n, last)
	}
}

var errDead = errors.New("the store is dead")

type deadStore struct{ reprise.Store }

func (deadStore) Each(context.Context, func(reprise.StoreKey, []byte, time.Time) bool) error {
	return errDead
}
