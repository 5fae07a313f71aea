package reprise_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// TestNewReturnsFalse: the session is not kept, no remove call follows, and it still resumes through get. The manual says
// so; the library keeps it.
func TestNewReturnsFalse(t *testing.T) {
	s := newServer(t, reprise.Options{})
	var stored *reprise.Session
	s.SetNewCallback(func(c *reprise.Cache, session *reprise.Session) bool {
		if c.Lookup(session.ID()) == nil {
			t.Error("the session is not in the internal cache while the new callback runs")
		}
		stored = session
		return false
	})
	session := s.full()
	if s.Stats().Number != 0 {
		t.Error("the session was kept")
	}
	s.expectOffer(session, reprise.Unknown)
	s.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) { return stored, nil })
	s.expectOffer(session, reprise.Resumed)
	s.expectRemoved()
}

// TestRemoveInNew: what is removed while its new callback runs is reported after it.
func TestRemoveInNew(t *testing.T) {
	for _, keep := range []bool{true, false} {
		s := newServer(t, reprise.Options{})
		s.SetNewCallback(func(c *reprise.Cache, session *reprise.Session) bool {
			if !c.Remove(session) {
				t.Error("not resident in its new callback")
			}
			s.expectRemoved()
			return keep
		})
		session := s.full()
		s.expectRemoved(removal{session.ID(), reprise.RemovedExplicitly, keep})
	}
	s := newServer(t, reprise.Options{})
	s.SetNewCallback(func(c *reprise.Cache, session *reprise.Session) bool {
		c.Flush(time.Time{})
		return false
	})
	s.full()
	s.expectRemoved() // it was not kept, and nobody needs to hear that it left
}

func TestNewIsCalledForEachSession(t *testing.T) {
	s := newServer(t, reprise.Options{})
	var announced []reprise.SessionID
	s.SetNewCallback(func(_ *reprise.Cache, session *reprise.Session) bool {
		announced = append(announced, session.ID())
		return true
	})
	conn := s.accept(anyInfo)
	for range 3 {
		if _, err := conn.NewSession(anyParams(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(announced) != 0 {
		t.Error("announced before the handshake was complete")
	}
	conn.Complete(true)
	if len(announced) != 3 {
		t.Fatalf("%d of 3 sessions announced", len(announced))
	}
	if _, err := conn.NewSession(anyParams(), nil); err != nil { // a ticket on demand
		t.Fatal(err)
	}
	conn.Complete(true)
	if len(announced) != 4 || s.Stats().AcceptGood != 1 {
		t.Errorf("%d announced, %d handshakes counted", len(announced), s.Stats().AcceptGood)
	}
}

func TestPanickingCallbacks(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	boom := func() { panic("boom") }
	s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { boom(); return true })
	s.SetRemoveCallback(func(*reprise.Cache, *reprise.Session, reprise.Removal, bool) { boom() })
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { boom(); return nil, nil })
	kept := s.full()
	s.expectOffer(kept, reprise.Resumed)
	s.Remove(session)
	s.expectOffer(session, reprise.StoreError)
	if n := s.Stats().CallbackPanics; n != 3 {
		t.Errorf("%d panics counted, want 3", n)
	}
	p := anyParams()
	p.SingleUse = true
	single := s.fullWith(anyInfo, p)
	s.SetTakeCallback(func(context.Context, *reprise.Session) (bool, error) { boom(); return true, nil })
	s.expectOffer(single, reprise.StoreError)
}

func TestGet(t *testing.T) {
	here, there := newServer(t, reprise.Options{}), newServer(t, reprise.Options{})
	stored := make(map[reprise.SessionID]*reprise.Session)
	calls := 0
	here.SetGetCallback(func(ctx context.Context, id reprise.SessionID) (*reprise.Session, error) {
		calls++
		if _, ok := ctx.Deadline(); !ok {
			t.Error("get without deadline")
		}
		return stored[id], nil
	})
	session := there.full()
	here.expectOffer(session, reprise.Unknown)
	stored[session.ID()] = session
	here.expectOffer(session, reprise.Resumed)
	here.expectOffer(session, reprise.Resumed) // adopted: no call
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	if st := here.Stats(); st.Hits != 2 || st.CallbackHits != 1 || st.Misses != 2 || st.Adopted != 1 || st.Number != 1 {
		t.Errorf("stats %+v", st)
	}
	for length := range 33 { // IDs of every length, foreign ones too
		calls = 0
		id, _ := reprise.MakeSessionID(make([]byte, length))
		here.resume(here.accept(anyInfo), id, anyOffer)
		if want := min(length, 1); calls != want {
			t.Errorf("an ID of %d bytes made %d calls, want %d", length, calls, want)
		}
	}
	calls = 0
	conn := here.accept(anyInfo)
	if _, reason := conn.Lookup(make([]byte, 33), anyOffer); reason != reprise.Unknown || calls != 0 {
		t.Errorf("33 bytes: %v, %d calls", reason, calls)
	}
}

func TestGetReturnsAnotherSession(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session, other := s.full(), s.full()
	s.Forget(session.ID())
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return other, nil })
	s.expectOffer(session, reprise.StoreError)
}

// TestDeclinedSessionOfGetIsNotKept: a session is adopted when it has resumed, not before: an observer who offers the IDs of
// others would fill the cache with them.
func TestDeclinedSessionOfGetIsNotKept(t *testing.T) {
	here, there := newServer(t, reprise.Options{}), newServer(t, reprise.Options{})
	session := there.full()
	here.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return session, nil })
	conn := here.accept(anyInfo)
	if _, reason := conn.Lookup(session.ID().Bytes(), anyOffer); reason != reprise.Resumed {
		t.Fatal(reason)
	}
	if here.Stats().Number != 0 {
		t.Error("adopted before the handshake was complete")
	}
	conn.Complete(true) // and the engine has refused
	if here.Stats().Number != 0 || conn.Reason() != reprise.Refused {
		t.Errorf("adopted, or reason %v", conn.Reason())
	}
}

// TestLookupWhileRemoving: the external cache has the session until the remove callback returns.
func TestLookupWhileRemoving(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return session, nil })
	s.SetRemoveCallback(func(*reprise.Cache, *reprise.Session, reprise.Removal, bool) {
		s.expectOffer(session, reprise.Unknown)
		s.SetGetCallback(nil) // deleted
	})
	s.Remove(session)
	if s.Stats().Number != 0 {
		t.Error("the removed session came back")
	}
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return session, nil })
	s.expectOffer(session, reprise.Resumed) // put there again
}

func TestRemovalDuringLookupVoidsItsResult(t *testing.T) {
	here, there := newServer(t, reprise.Options{}), newServer(t, reprise.Options{})
	session := there.full()
	here.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) {
		here.Remove(session)
		return session, nil
	})
	here.expectOffer(session, reprise.Unknown)
	if here.Stats().Number != 0 {
		t.Error("the removed session came back")
	}

	// Between the lookup and the end of the handshake it must not come back either, though this handshake goes on.
	here.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return session, nil })
	conn := here.accept(anyInfo)
	found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
	if reason != reprise.Resumed {
		t.Fatal(reason)
	}
	here.Forget(session.ID())
	conn.Resumed(found)
	conn.Complete(true)
	if here.Stats().Number != 0 {
		t.Error("the session that was removed elsewhere was adopted")
	}
}

// TestOneDeadline: however many IDs are offered, the handshake waits no longer than the lookup timeout.
func TestOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, reprise.Options{LookupTimeout: 40 * time.Millisecond})
		calls := 0
		s.SetGetCallback(func(ctx context.Context, _ reprise.SessionID) (*reprise.Session, error) {
			calls++
			<-ctx.Done()
			return nil, ctx.Err()
		})
		start := time.Now()
		conn := s.accept(anyInfo)
		for i := range 10 {
			id := []byte{byte(i), 1}
			want := reprise.StoreTimeout
			if i >= reprise.MaxLookups {
				want = reprise.Unknown
			}
			if _, reason := conn.Lookup(id, anyOffer); reason != want {
				t.Errorf("lookup %d: %v, want %v", i, reason, want)
			}
		}
		if waited := time.Since(start); waited != 40*time.Millisecond || calls != reprise.MaxLookups {
			t.Errorf("waited %v, %d calls", waited, calls)
		}
	})
}

func TestStoreErrorIsADecline(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	s.Forget(session.ID())
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return nil, errors.New("down") })
	s.expectOffer(session, reprise.StoreError)
}

// TestCallbacksChangeWhileServing is for the race detector.
func TestCallbacksChangeWhileServing(t *testing.T) {
	s, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { return true })
			s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return nil, nil })
			s.SetRemoveCallback(nil)
			s.SetTakeCallback(nil)
			s.SetGenerateID(nil)
			s.SetMode(reprise.ModeBoth)
			s.SetSize(10)
			s.SetTimeout(time.Minute)
			_ = s.SetContext([]byte("c"))
			_ = s.SetKeys(s.Keys())
			_ = s.GetCallback()
			_ = s.Stats()
			s.SetNewCallback(nil)
			s.SetGetCallback(nil)
		}
	})
	for range 2000 {
		conn, err := s.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		session, err := conn.NewSession(anyParams(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.Complete(true)
		conn.Lookup(session.ID().Bytes(), anyOffer)
		conn.End(reprise.Ending{})
	}
	close(stop)
	wg.Wait()
}

func TestModes(t *testing.T) {
	for _, test := range []struct {
		mode                           reprise.Mode
		announced, kept, adopted, hits bool // hits: what is in the internal cache is found there
	}{
		{reprise.ModeServer, true, true, true, true},
		{reprise.ModeBoth, true, true, true, true},
		{reprise.ModeServer | reprise.ModeNoInternalLookup, true, true, true, false},
		{reprise.ModeServer | reprise.ModeNoInternalStore, true, false, false, true},
		{reprise.ModeServer | reprise.ModeNoInternal, true, false, false, false},
		{reprise.ModeClient, false, false, false, true},
		{reprise.ModeOff, false, false, false, true},
	} {
		s, there := newServer(t, reprise.Options{}), newServer(t, reprise.Options{})
		s.SetMode(test.mode)
		announced := false
		s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { announced = true; return true })
		conn := s.accept(anyInfo)
		_, err := conn.NewSession(anyParams(), nil)
		conn.Complete(true)
		if announced != test.announced || (err == nil) != test.announced || (s.Stats().Number == 1) != test.kept {
			t.Errorf("mode %#x: announced %v, error %v, %d kept", test.mode, announced, err, s.Stats().Number)
		}

		foreign, gets := there.full(), 0
		s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { gets++; return foreign, nil })
		s.expectOffer(foreign, reprise.Resumed) // whatever the mode
		if adopted := s.Lookup(foreign.ID()) != nil; adopted != test.adopted || gets != 1 {
			t.Errorf("mode %#x: adopted %v, %d gets", test.mode, adopted, gets)
		}
		if err := s.Add(foreign); err != nil {
			t.Fatal(err)
		}
		misses := s.Stats().Misses
		s.expectOffer(foreign, reprise.Resumed)
		if hit := gets == 1; hit != test.hits || s.Stats().Misses != misses {
			t.Errorf("mode %#x: found internally %v, misses %d", test.mode, hit, s.Stats().Misses-misses)
		}
	}
}

func TestUpdateTime(t *testing.T) {
	s := newServer(t, reprise.Options{})
	s.SetMode(reprise.ModeServer | reprise.ModeUpdateTime)
	session := s.full()
	for range 3 {
		s.pass(90 * time.Minute)
		s.expectOffer(session, reprise.Resumed)
	}
	s.pass(2*time.Hour + time.Millisecond)
	s.expectOffer(session, reprise.Expired)

	session = s.full()
	for s.now.Before(session.Lineage().End.Add(-2 * time.Hour)) {
		s.pass(2 * time.Hour)
		s.expectOffer(session, reprise.Resumed)
	}
	s.pass(2*time.Hour + time.Millisecond)
	s.expectOffer(session, reprise.Expired) // a lineage ends, whatever the mode
}

// TestNewCallbackThatExits: the residence of a session whose new callback has ended the goroutine ends in a remove call, too.
func TestNewCallbackThatExits(t *testing.T) {
	s := newServer(t, reprise.Options{})
	s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { runtime.Goexit(); return true })
	sessions := make(chan *reprise.Session, 1)
	var work sync.WaitGroup
	work.Go(func() {
		conn := s.accept(anyInfo)
		session, err := conn.NewSession(anyParams(), nil)
		if err != nil {
			t.Error(err)
		}
		sessions <- session
		conn.Complete(true)
	})
	work.Wait()
	session := <-sessions
	s.expectOffer(session, reprise.Resumed)
	s.Remove(session)
	s.expectRemoved(removal{session.ID(), reprise.RemovedExplicitly, true})
}

// TestTakeAfterManyRemovals: a session for single use that is there is taken, however many others were removed since it was found.
func TestTakeAfterManyRemovals(t *testing.T) {
	s := newServer(t, reprise.Options{SingleUse: true})
	session := s.full()
	first, second := s.accept(anyInfo), s.accept(anyInfo)
	found, reason := first.Lookup(session.ID().Bytes(), anyOffer)
	late, lateReason := second.Lookup(session.ID().Bytes(), anyOffer)
	if reason != reprise.Resumed || lateReason != reprise.Resumed || first.Reserve(found) != reprise.Resumed {
		t.Fatal(reason, lateReason)
	}
	for range 10_000 {
		s.expectOffer(s.full(), reprise.Resumed)
	}
	if got := first.Take(found); got != reprise.Resumed {
		t.Errorf("a session that nobody has used: %v", got)
	}
	for range 10_000 {
		s.expectOffer(s.full(), reprise.Resumed)
	}
	if got := second.Take(late); got != reprise.Used {
		t.Errorf("a session that was used: %v", got)
	}
}

// TestResidentSessionEvictsNobody: a session that the get callback returned and that is there already takes no other's place, where the
// mode has the internal cache not asked.
func TestResidentSessionEvictsNobody(t *testing.T) {
	s := newServer(t, reprise.Options{})
	s.SetMode(reprise.ModeServer | reprise.ModeNoInternalLookup)
	s.SetSize(2)
	first, second := s.full(), s.full()
	known := map[reprise.SessionID]*reprise.Session{first.ID(): first, second.ID(): second}
	s.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) { return known[id], nil })
	for range 3 {
		s.expectOffer(second, reprise.Resumed)
	}
	if st := s.Stats(); st.Number != 2 || st.CacheFull != 0 || s.Lookup(first.ID()) == nil {
		t.Errorf("%d sessions, %d were evicted", st.Number, st.CacheFull)
	}
}
