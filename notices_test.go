package reprise_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// A tellingStore tells its listeners what the test says.
type tellingStore struct {
	*faultyStore
	mu        sync.Mutex
	listeners []func(reprise.Notice)
}

func (s *tellingStore) Notices(ctx context.Context, f func(reprise.Notice)) {
	s.mu.Lock()
	s.listeners = append(s.listeners, f)
	s.mu.Unlock()
	<-ctx.Done()
}

// tell tells all nodes.
func (s *tellingStore) tell(kind reprise.NoticeKind, keys ...reprise.StoreKey) {
	if len(keys) == 0 {
		keys = append(keys, reprise.StoreKey{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.listeners {
		for _, key := range keys {
			f(reprise.Notice{Kind: kind, Key: key})
		}
	}
}

// drop removes a session's record and tells of it.
func (s *tellingStore) drop(t *testing.T, n *node, of *reprise.Session) {
	t.Helper()
	key := n.Keys().StoreKeys(of.ID())[0]
	if err := s.Store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	s.tell(reprise.NoticeRemoved, key)
}

// fleet returns two nodes that follow one store.
func fleet(t *testing.T) (s *tellingStore, a, b *node) {
	t.Helper()
	s = &tellingStore{faultyStore: &faultyStore{}}
	keys := reprise.RandomFleetKeys()
	a, b = newNode(t, s, keys, oneWriter), newNode(t, s, keys, oneWriter)
	synctest.Wait()
	s.tell(reprise.NoticesFollow)
	return s, a, b
}

// TestStoreThatNeverTells is warned of once: nothing else but a slower fleet shows it.
func TestStoreThatNeverTells(t *testing.T) {
	for name, c := range map[string]struct {
		told []reprise.NoticeKind
		want int
	}{
		"never":           {nil, 1},
		"follows":         {[]reprise.NoticeKind{reprise.NoticesFollow}, 0},
		"follows no more": {[]reprise.NoticeKind{reprise.NoticesFollow, reprise.NoticesLost}, 0}, // which was told
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tellingStore{faultyStore: &faultyStore{}}
				var log strings.Builder
				newLoggingNode(t, s, reprise.RandomFleetKeys(), oneWriter, slog.New(slog.NewTextHandler(&log, nil)))
				synctest.Wait()
				for _, kind := range c.told {
					s.tell(kind)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := strings.Count(log.String(), "does not tell of removals"); got != c.want {
					t.Errorf("%d warnings, want %d: %s", got, c.want, log.String())
				}
			})
		})
	}
}

// resumes fails unless the nodes resume the session with the outcome given.
func resumes(t *testing.T, s *reprise.Session, want reprise.Reason, nodes ...*node) {
	t.Helper()
	for i, n := range nodes {
		if reason := n.resume(s); reason != want {
			t.Errorf("node %d: %v, want %v", i, reason, want)
		}
	}
}

func TestRemovedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fleet(t)
		var removals []reprise.Removal
		bound := a.RemoveCallback()
		a.SetRemoveCallback(func(c *reprise.Cache, s *reprise.Session, why reprise.Removal, resident bool) {
			removals = append(removals, why)
			bound(c, s, why, resident)
		})
		s, other := a.full(false), a.full(false)
		a.flush()
		resumes(t, s, reprise.Resumed, a, b, b)
		if got := len(store.seen()); got != 3 {
			t.Errorf("%q, want two puts and a get", store.seen())
		}
		store.drop(t, a, s)
		for _, n := range []*node{a, b} {
			if n.Lookup(s.ID()) != nil {
				t.Error("it is resident though its record was removed")
			}
		}
		resumes(t, s, reprise.Unknown, a, b)
		resumes(t, other, reprise.Resumed, a, b)
		a.flush()
		if !slices.Equal(removals, []reprise.Removal{reprise.RemovedElsewhere}) {
			t.Errorf("removals %v", removals)
		}
		if slices.Contains(store.seen(), "delete") {
			t.Error("a notice made a delete")
		}
		if stats := a.stats(); stats.Notices != 1 || !stats.Following || stats.NoticesLost != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestNoticeDuringLookup tells of a removal while the store's answer, made before it, is still on its way.
func TestNoticeDuringLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fleet(t)
		s := a.full(false)
		a.flush()
		f, release := hang()
		store.afterCall(f, "get")
		reasons := make(chan reprise.Reason, 2)
		go func() { reasons <- b.resume(s) }()
		synctest.Wait()
		store.drop(t, a, s)
		store.afterCall(nil, "get")
		go func() { reasons <- b.resume(s) }() // which must not share the first one's call
		synctest.Wait()
		release()
		for range 2 {
			if reason := <-reasons; reason != reprise.Unknown {
				t.Error(reason)
			}
		}
		if b.Lookup(s.ID()) != nil {
			t.Error("the session is resident again")
		}
	})
}

// TestNoticeBetweenLookupAndEnd tells of a removal when the session was found and the handshake is not over: the session
// resumes, for the last time.
func TestNoticeBetweenLookupAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fleet(t)
		s := a.full(false)
		a.flush()
		conn, err := b.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		found, reason := conn.Lookup(s.ID().Bytes(), anyOffer)
		if reason != reprise.Resumed {
			t.Fatal(reason)
		}
		store.drop(t, a, s)
		conn.Resumed(found)
		conn.Complete(true)
		if b.Lookup(s.ID()) != nil {
			t.Error("the session is resident though its record was removed")
		}
		resumes(t, s, reprise.Unknown, a, b)
	})
}

// TestManyNoticesDuringLookup checks that a lookup which was outrun by more notices than are remembered keeps nothing.
func TestManyNoticesDuringLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fleet(t)
		s := a.full(false)
		a.flush()
		conn, err := b.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		found, _ := conn.Lookup(s.ID().Bytes(), anyOffer)
		keys := make([]reprise.StoreKey, 1<<16)
		for i := range keys {
			keys[i] = reprise.StoreKey{0, 0, byte(i >> 8), byte(i), 5: byte(i >> 8), 7: byte(i)}
		}
		store.tell(reprise.NoticeRemoved, keys...)
		conn.Resumed(found)
		conn.Complete(true)
		if b.Lookup(s.ID()) != nil {
			t.Error("the session was kept")
		}
		resumes(t, s, reprise.Resumed, b, b)
		if b.Lookup(s.ID()) == nil {
			t.Error("the session is not kept any more")
		}
	})
}

// TestNoticesLost checks what a node does that may have missed removals: it asks the store, once for each session when it
// follows again, and each time until then.
func TestNoticesLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, _ := fleet(t)
		kept, gone, single := a.full(false), a.full(false), a.full(true)
		a.flush()
		gets := func() (n int) {
			for _, call := range store.seen() {
				if call == "get" {
					n++
				}
			}
			return n
		}
		store.tell(reprise.NoticesLost)
		if err := store.Store.Delete(t.Context(), a.Keys().StoreKeys(gone.ID())[0]); err != nil {
			t.Fatal(err)
		}
		resumes(t, kept, reprise.Resumed, a, a)
		resumes(t, gone, reprise.Unknown, a)
		resumes(t, single, reprise.Resumed, a) // the take has the last word
		if got := gets(); got != 3 {
			t.Errorf("%d gets while notices are lost, want 3", got)
		}
		if a.Lookup(gone.ID()) != nil || a.Lookup(kept.ID()) == nil {
			t.Error("the session that is gone is resident, or the other one not")
		}

		store.beforeCall(fail, "get")
		resumes(t, kept, reprise.StoreError, a)
		store.beforeCall(nil, "get")
		store.tell(reprise.NoticesFollow)
		before := gets()
		resumes(t, kept, reprise.Resumed, a, a, a)
		if got := gets() - before; got != 1 {
			t.Errorf("%d gets of a session after notices were lost, want 1", got)
		}
		store.drop(t, a, kept)
		resumes(t, kept, reprise.Unknown, a)
		stats := a.stats()
		if stats.NoticesLost != 1 || !stats.Following || a.Cache.Stats().Doubted != 5 {
			t.Errorf("%+v, %d doubted", stats, a.Cache.Stats().Doubted)
		}
	})
}

// TestLossDuringLookup checks that an answer of before a loss makes nothing trusted after it.
func TestLossDuringLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fleet(t)
		s := a.full(false)
		a.flush()
		f, release := hang()
		store.afterCall(f, "get")
		done := make(chan struct{})
		go func() { defer close(done); b.resume(s) }()
		synctest.Wait()
		store.afterCall(nil, "get")
		store.tell(reprise.NoticesLost)
		if err := store.Store.Delete(t.Context(), a.Keys().StoreKeys(s.ID())[0]); err != nil {
			t.Fatal(err)
		}
		store.tell(reprise.NoticesFollow)
		release()
		<-done
		resumes(t, s, reprise.Unknown, b)
	})
}

// TestSessionsWithoutRecords checks that sessions which the store never had stay resident whatever it tells.
func TestSessionsWithoutRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, _ := fleet(t)
		added := a.make()
		if err := a.Add(added); err != nil {
			t.Fatal(err)
		}
		a.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { return a.randomID(8), nil })
		short := a.full(false)
		store.tell(reprise.NoticesLost)
		resumes(t, added, reprise.Resumed, a)
		resumes(t, short, reprise.Resumed, a)
		store.saw(t)
	})
}

// TestNoticesEndWithTheBinding checks that a cache whose store was taken away trusts itself again, and that one which gets
// another store doubts what is resident.
func TestNoticesEndWithTheBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, _ := fleet(t)
		s := a.full(false)
		a.flush()
		if err := a.StoreBinding.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		resumes(t, s, reprise.Resumed, a)
		again, err := reprise.BindStore(a.Cache, store, oneWriter)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close(t.Context())
		synctest.Wait()
		store.tell(reprise.NoticesFollow)
		resumes(t, s, reprise.Resumed, a)
		if got := a.Cache.Stats().Doubted; got != 1 {
			t.Errorf("%d doubted, want 1", got)
		}
		store.drop(t, a, s)
		resumes(t, s, reprise.Unknown, a)
	})
}
