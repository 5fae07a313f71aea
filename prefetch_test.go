package reprise_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A remoteCache is an external cache that takes its time to answer.
type remoteCache struct {
	delay time.Duration

	mu       sync.Mutex
	sessions map[reprise.SessionID]*reprise.Session
	answers  map[reprise.SessionID]func() error // before the session, if there is one for the ID
	asked    []reprise.SessionID
	ended    int
}

// newRemoteCache sets the get callback of s.
func newRemoteCache(s *server, delay time.Duration) *remoteCache {
	r := &remoteCache{
		delay: delay, sessions: make(map[reprise.SessionID]*reprise.Session), answers: make(map[reprise.SessionID]func() error),
	}
	s.SetGetCallback(r.get)
	return r
}

func (r *remoteCache) get(ctx context.Context, id reprise.SessionID) (*reprise.Session, error) {
	r.mu.Lock()
	r.asked = append(r.asked, id)
	answer, session := r.answers[id], r.sessions[id]
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended++
	}()
	if err := slow(r.delay)(ctx); err != nil {
		return nil, err
	}
	if answer != nil {
		if err := answer(); err != nil {
			return nil, err
		}
	}
	return session, nil
}

// expectAsked fails unless the callback was called for these IDs, in any order, and has returned as often as told.
func (r *remoteCache) expectAsked(t *testing.T, ended int, want ...*reprise.Session) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) != len(want) || r.ended != ended {
		t.Errorf("%d calls, %d have returned; want %d, %d", len(r.asked), r.ended, len(want), ended)
	}
	for i, session := range want {
		if !slices.Contains(r.asked, session.ID()) {
			t.Errorf("session %d was not asked for", i)
		}
	}
}

// far makes sessions that s can get from r alone.
func (r *remoteCache) far(s *server, number int, change ...func(*reprise.SessionParams)) (sessions []*reprise.Session) {
	s.t.Helper()
	for range number {
		p := anyParams()
		for _, f := range change {
			f(&p)
		}
		session := s.fullWith(anyInfo, p)
		s.Forget(session.ID())
		r.sessions[session.ID()] = session
		sessions = append(sessions, session)
	}
	s.removed = nil
	return sessions
}

func idsOf(sessions []*reprise.Session) (ids []reprise.SessionID) {
	for _, session := range sessions {
		ids = append(ids, session.ID())
	}
	return ids
}

// expecting begins a connection that offers sessions.
func (s *server) expecting(sessions ...*reprise.Session) *reprise.Connection {
	s.t.Helper()
	conn := s.accept(anyInfo)
	conn.Expect(idsOf(sessions))
	return conn
}

// expectLookup fails unless the lookup of a session ends for the reason, and takes the time given.
func expectLookup(t *testing.T, conn *reprise.Connection, session *reprise.Session, want reprise.Reason, takes time.Duration) {
	t.Helper()
	start := time.Now()
	found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
	if reason != want || (found != nil) != (want == reprise.Resumed) {
		t.Errorf("found in %q (%v), want %q", reason, found != nil, want)
	}
	if took := time.Since(start); took != takes {
		t.Errorf("took %v, want %v", took, takes)
	}
}

const trip = 10 * time.Millisecond

// TestExpectedLookupsTakeTheTimeOfOne: each ends as it would alone.
func TestExpectedLookupsTakeTheTimeOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		r := newRemoteCache(s, trip)
		far := r.far(s, 5)
		delete(r.sessions, far[0].ID())
		r.answers[far[1].ID()] = func() error { return errors.New("broken") }
		r.answers[far[2].ID()] = func() error { panic("broken") }
		r.sessions[far[3].ID()] = far[4]
		before := s.Stats()

		conn := s.expecting(far...)
		expectLookup(t, conn, far[0], reprise.Unknown, trip)
		expectLookup(t, conn, far[1], reprise.StoreError, 0)
		expectLookup(t, conn, far[2], reprise.StoreError, 0)
		expectLookup(t, conn, far[3], reprise.StoreError, 0)
		expectLookup(t, conn, far[4], reprise.Resumed, 0)
		r.expectAsked(t, 5, far...)
		after := s.Stats()
		if hits, misses, panics := after.CallbackHits-before.CallbackHits, after.Misses-before.Misses,
			after.CallbackPanics-before.CallbackPanics; hits != 1 || misses != 5 || panics != 1 {
			t.Errorf("%d hits, %d misses, %d panics; want 1, 5, 1", hits, misses, panics)
		}
	})
}

// TestLookupsPassWhileTheEngineComputes: what was asked for is there when it is looked for.
func TestLookupsPassWhileTheEngineComputes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		far := newRemoteCache(s, trip).far(s, 1)
		conn := s.expecting(far...)
		time.Sleep(trip / 2)
		expectLookup(t, conn, far[0], reprise.Resumed, trip/2)
		conn = s.expecting(far...)
		time.Sleep(trip)
		expectLookup(t, conn, far[0], reprise.Resumed, 0)
	})
}

// TestGottenSessionThatIsResidentThen counts as one that was not resident, as it does if nothing is asked ahead: the callback may
// add what it returns.
func TestGottenSessionThatIsResidentThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		r := newRemoteCache(s, trip)
		far := r.far(s, 1)
		r.answers[far[0].ID()] = func() error { return s.Add(far[0]) }
		before := s.Stats()
		conn := s.expecting(far...)
		time.Sleep(2 * trip)
		expectLookup(t, conn, far[0], reprise.Resumed, 0)
		after := s.Stats()
		if hits, misses := after.CallbackHits-before.CallbackHits, after.Misses-before.Misses; hits != 1 || misses != 1 {
			t.Errorf("%d hits of the callback, %d misses; want 1, 1", hits, misses)
		}
	})
}

// TestExpectNothing drops what was asked for, ends what is under way, and gives the next lookup all of the time again.
func TestExpectNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{LookupTimeout: 5 * trip})
		r := newRemoteCache(s, trip)
		far := r.far(s, 3)
		conn := s.expecting(far[:1]...)
		time.Sleep(4 * trip)
		conn.Expect(nil)
		delete(r.sessions, far[0].ID())
		expectLookup(t, conn, far[0], reprise.Unknown, trip)

		r.delay = 4 * trip
		conn = s.expecting(far[1:]...)
		time.Sleep(2 * trip)
		conn.Expect(nil)
		r.expectAsked(t, 4, far[0], far[0], far[1], far[2])
		expectLookup(t, conn, far[1], reprise.Resumed, 4*trip)
	})
}

// TestExpectedLookupsShareTheDeadline: a callback that does not heed its context delays the handshake no longer than that.
func TestExpectedLookupsShareTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{LookupTimeout: 5 * trip})
		r := newRemoteCache(s, trip)
		far := r.far(s, 4)
		held := make(chan struct{})
		r.answers[far[1].ID()] = func() error { <-held; return nil }
		r.answers[far[2].ID()] = func() error { time.Sleep(2 * trip); return nil }

		delete(r.sessions, far[0].ID())
		conn := s.expecting(far...)
		expectLookup(t, conn, far[0], reprise.Unknown, trip)
		expectLookup(t, conn, far[1], reprise.StoreTimeout, 4*trip)
		expectLookup(t, conn, far[2], reprise.Resumed, 0) // in time, though the time is over
		conn.Complete(true)
		r.expectAsked(t, 3, far...)
		close(held)
		r.expectAsked(t, 4, far...)

		r.delay = time.Hour
		conn = s.expecting(far...)
		expectLookup(t, conn, far[0], reprise.StoreTimeout, 5*trip)
		for _, session := range far[1:] {
			expectLookup(t, conn, session, reprise.StoreTimeout, 0)
		}
	})
}

// TestAskedAhead: before any lookup, those are asked for that the internal cache does not answer for.
func TestAskedAhead(t *testing.T) {
	for _, test := range []struct {
		name  string
		offer func(s *server, far []*reprise.Session) (expected []*reprise.Session)
		asked int // of far
	}{
		{"not expected", func(_ *server, far []*reprise.Session) []*reprise.Session { return nil }, 0},
		{"only one", func(_ *server, far []*reprise.Session) []*reprise.Session { return far[:1] }, 1},
		{"all", func(_ *server, far []*reprise.Session) []*reprise.Session { return far[:5] }, 5},
		{"too many", func(_ *server, far []*reprise.Session) []*reprise.Session { return far }, 5},
		{"the same one", func(_ *server, far []*reprise.Session) []*reprise.Session {
			return []*reprise.Session{far[0], far[1], far[1], far[1], far[1], far[1], far[1], far[2]}
		}, 3},
		{"behind a resident", func(s *server, far []*reprise.Session) []*reprise.Session {
			return []*reprise.Session{far[0], far[1], s.full(), far[2]}
		}, 2},
		{"foreign", func(_ *server, far []*reprise.Session) []*reprise.Session {
			return []*reprise.Session{far[0], newServer(t, reprise.Options{}).full(), far[1]}
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, reprise.Options{})
				r := newRemoteCache(s, trip)
				far := r.far(s, 7)
				conn := s.expecting(test.offer(s, far)...)
				r.expectAsked(t, 0, far[:test.asked]...)
				expectLookup(t, conn, far[0], reprise.Resumed, trip)
				all := max(1, test.asked)
				r.expectAsked(t, all, far[:all]...)
			})
		})
	}
	t.Run("the first is resident", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, reprise.Options{})
			r := newRemoteCache(s, trip)
			far, here := r.far(s, 2), s.full()
			conn := s.expecting(append([]*reprise.Session{here}, far...)...)
			expectLookup(t, conn, here, reprise.Resumed, 0)
			r.expectAsked(t, 0)
			expectLookup(t, conn, far[0], reprise.Resumed, trip) // as if the engine had not wanted the first
			expectLookup(t, conn, far[1], reprise.Resumed, 0)
			s.SetMode(s.Mode() | reprise.ModeNoInternalLookup)
			conn = s.expecting(far[0], here)
			expectLookup(t, conn, far[0], reprise.Resumed, trip)
			expectLookup(t, conn, here, reprise.Unknown, 0)
			r.expectAsked(t, 4, far[0], far[1], far[0], here)
		})
	})
}

// TestLookupsAheadCount: whatever is expected and offered then, at most MaxLookups sessions are asked for.
func TestLookupsAheadCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		r := newRemoteCache(s, trip)
		far := r.far(s, 10)
		conn := s.expecting(far[:4]...)
		expectLookup(t, conn, far[0], reprise.Resumed, trip)
		expectLookup(t, conn, far[8], reprise.Resumed, trip)
		expectLookup(t, conn, far[9], reprise.Unknown, 0)
		r.expectAsked(t, 5, far[0], far[1], far[2], far[3], far[8])
	})
}

// TestForeignAheadCostsNoAnswer: an ID that no fleet key has made takes no lookup from those that were asked for.
func TestForeignAheadCostsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		far := newRemoteCache(s, trip).far(s, reprise.MaxLookups)
		foreign := newServer(t, reprise.Options{}).full()
		conn := s.expecting(append([]*reprise.Session{foreign}, far...)...)
		defer conn.Release()
		if _, reason := conn.Lookup(foreign.ID().Bytes(), anyOffer); reason != reprise.Unknown {
			t.Error(reason)
		}
		expectLookup(t, conn, far[0], reprise.Resumed, trip)
	})
}

// TestGetThatEndsItsGoroutineAhead has told nothing of the session.
func TestGetThatEndsItsGoroutineAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		far := newRemoteCache(s, 0).far(s, 1)
		s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) {
			runtime.Goexit()
			return nil, nil
		})
		expectLookup(t, s.expecting(far...), far[0], reprise.StoreError, 0)
	})
}

// TestRemovalVoidsWhatWasAskedAhead: also between the answer and its lookup.
func TestRemovalVoidsWhatWasAskedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{})
		r := newRemoteCache(s, trip)
		far := r.far(s, 3)
		conn := s.expecting(far...)
		time.AfterFunc(trip/2, func() { s.Remove(far[1]) })
		expectLookup(t, conn, far[0], reprise.Resumed, trip)
		s.Remove(far[2])
		expectLookup(t, conn, far[1], reprise.Unknown, 0)
		expectLookup(t, conn, far[2], reprise.Unknown, 0)
	})
}

// expectingElsewhere begins a connection to a node that offers three sessions of another one, with a store that takes its time.
func expectingElsewhere(t *testing.T) (*tellingStore, *node, *reprise.Connection, []*reprise.Session) {
	t.Helper()
	store, a, b := fleet(t)
	sessions := []*reprise.Session{a.full(false), a.full(false), a.full(false)}
	a.flush()
	conn, err := b.Accept(t.Context(), anyInfo)
	if err != nil {
		t.Fatal(err)
	}
	store.afterCall(slow(trip), "get")
	conn.Expect(idsOf(sessions))
	return store, b, conn, sessions
}

// TestNoticeVoidsWhatWasAskedAhead: a notice sends the lookup to the store once more, and to nobody's call but its own.
func TestNoticeVoidsWhatWasAskedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, b, conn, sessions := expectingElsewhere(t)
		expectLookup(t, conn, sessions[0], reprise.Resumed, trip)
		synctest.Wait() // all have their answers
		store.drop(t, b, sessions[1])
		store.tell(reprise.NoticeRemoved, b.Keys().StoreKeys(sessions[2].ID())[0]) // that was of its put
		expectLookup(t, conn, sessions[1], reprise.Unknown, trip)
		expectLookup(t, conn, sessions[2], reprise.Resumed, 0) // its second look was at the same time
		if started := store.started(); len(started) != 3+3+2 {
			t.Errorf("the store was asked %q", started)
		}
	})
}

// TestNoticesOfPutsDuringLookups: second looks are made at the same time, too. A client that comes back at once makes them likely.
func TestNoticesOfPutsDuringLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, b, conn, sessions := expectingElsewhere(t)
		time.AfterFunc(trip/2, func() {
			for _, session := range sessions {
				store.tell(reprise.NoticeRemoved, b.Keys().StoreKeys(session.ID())[0])
			}
		})
		expectLookup(t, conn, sessions[0], reprise.Resumed, 2*trip)
		expectLookup(t, conn, sessions[1], reprise.Resumed, 0)
		expectLookup(t, conn, sessions[2], reprise.Resumed, 0)
	})
}

// TestFoundAndNotChosen: sessions that were asked for and not resumed leave no trace, and nothing runs on when the handshake is over.
func TestFoundAndNotChosen(t *testing.T) {
	for name, end := range map[string]func(*reprise.Connection){
		"complete": func(conn *reprise.Connection) { conn.Complete(true) },
		"failed":   (*reprise.Connection).Release,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, reprise.Options{})
				r := newRemoteCache(s, 0)
				far := r.far(s, 4, singleUse)
				s.SetTakeCallback(func(_ context.Context, session *reprise.Session) (bool, error) {
					if session.ID() != far[1].ID() {
						t.Error("a session was taken that was not chosen")
					}
					return true, nil
				})
				s.SetGetCallback(func(ctx context.Context, id reprise.SessionID) (*reprise.Session, error) {
					if id == far[3].ID() {
						<-ctx.Done()
					}
					return r.get(ctx, id)
				})
				delete(r.sessions, far[0].ID())

				conn := s.expecting(far...)
				expectLookup(t, conn, far[0], reprise.Unknown, 0)
				found, reason := conn.Lookup(far[1].ID().Bytes(), anyOffer)
				if reason != reprise.Resumed || conn.Take(found) != reprise.Resumed {
					t.Fatal(reason)
				}
				conn.Resumed(found)
				r.expectAsked(t, 3, far[:3]...)
				end(conn)
				r.expectAsked(t, 4, far...) // the one that hung has ended
				if n := s.Stats().Number; n != 0 {
					t.Errorf("%d sessions are resident", n)
				}
				s.expectRemoved(removal{far[1].ID(), reprise.RemovedUsed, false})
			})
		})
	}
}

// TestTakesAfterExpectedLookups: they have what is left of the time, and no more than before.
func TestTakesAfterExpectedLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{LookupTimeout: 5 * trip})
		r := newRemoteCache(s, trip)
		far := r.far(s, 2, singleUse)
		takes := 0
		s.SetTakeCallback(func(ctx context.Context, _ *reprise.Session) (bool, error) {
			if takes++; takes == 1 {
				return false, slow(3 * trip)(ctx)
			}
			return true, slow(3 * trip)(ctx)
		})
		conn := s.expecting(far...)
		start := time.Now()
		for i, want := range []reprise.Reason{reprise.Used, reprise.StoreTimeout} {
			found, reason := conn.Lookup(far[i].ID().Bytes(), anyOffer)
			if reason == reprise.Resumed {
				reason = conn.Take(found)
			}
			if reason != want {
				t.Errorf("session %d ended in %q, want %q", i, reason, want)
			}
		}
		if took := time.Since(start); took != 5*trip {
			t.Errorf("took %v, want %v", took, 5*trip)
		}
	})
}

// TestForgedIDsAheadReachNoStore: five IDs are five gets at most, and an ID that no fleet key has made is none.
func TestForgedIDsAheadReachNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, store := reprise.RandomFleetKeys(), &faultyStore{}
		n := newNode(t, store, keys, reprise.StoreOptions{})
		elsewhere := newNode(t, new(memory.Store), nil, reprise.StoreOptions{})
		own := []*reprise.Session{n.stored(), n.stored(), n.stored()}
		offered := []*reprise.Session{own[0], elsewhere.make(), own[1], elsewhere.make(), own[2]}
		conn, err := n.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		store.beforeCall(slow(trip), "get")
		start := time.Now()
		conn.Expect(idsOf(offered))
		for _, session := range offered {
			conn.Lookup(session.ID().Bytes(), reprise.Offer{Version: 1}) // so that none is chosen
		}
		if took := time.Since(start); took != trip {
			t.Errorf("took %v, want %v", took, trip)
		}
		store.saw(t, "put", "put", "put", "get", "get", "get")
	})
}

// TestStoreHangsAhead: a store that does not look at its context when it is asked ahead holds up nobody: not the
// handshake, and not who shares the call.
func TestStoreHangsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		f, release := hang()
		defer release()
		store.beforeCall(f, "get")
		conn, err := n.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		conn.Expect([]reprise.SessionID{s.ID()})
		shared := make(chan error, 1)
		go func() {
			_, err := n.get(s.ID())
			shared <- err
		}()
		synctest.Wait()
		if _, reason := conn.Lookup(s.ID().Bytes(), anyOffer); reason != reprise.StoreTimeout {
			t.Errorf("the lookup ended in %q", reason)
		}
		if err := <-shared; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the get that shares the call ended with %v", err)
		}
		if took := time.Since(start); took != reprise.DefaultLookupTimeout {
			t.Errorf("both took %v", took)
		}
		synctest.Wait() // the time of the call ends with that of the handshake
		if got := n.stats(); got.GetsShared != 1 || got.Gets != 1 || got.Timeouts != 1 {
			t.Errorf("%d gets, %d shared, %d timeouts", got.Gets, got.GetsShared, got.Timeouts)
		}
		release()
		synctest.Wait()
		store.beforeCall(nil, "get")
		n.has(s)
	})
}

// TestOneDeadlineForGetsAskedAhead: however long the store may take, a handshake waits for its gets as long as for one lookup.
func TestOneDeadlineForGetsAskedAhead(t *testing.T) {
	const patience = reprise.DefaultLookupTimeout
	for _, readTimeout := range []time.Duration{patience / 4, patience, patience + time.Millisecond/2, 3 * patience} {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, reprise.StoreOptions{ReadTimeout: readTimeout})
			sessions := []*reprise.Session{n.stored(), n.stored(), n.stored()}
			f, release := hang()
			defer release()
			store.beforeCall(f, "get")
			conn, err := n.Accept(t.Context(), anyInfo)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			conn.Expect([]reprise.SessionID{sessions[0].ID(), sessions[1].ID(), sessions[2].ID()})
			for _, s := range sessions {
				if _, reason := conn.Lookup(s.ID().Bytes(), anyOffer); reason != reprise.StoreTimeout {
					t.Errorf("reason %v, want %v", reason, reprise.StoreTimeout)
				}
			}
			if waited := time.Since(began); waited > patience+time.Millisecond {
				t.Errorf("waited for %v, with a read timeout of %v", waited, readTimeout)
			}
		})
	}
}
