package reprise_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// A server is a cache with what tests need around it: a clock and a record of the remove calls.
type server struct {
	*reprise.Cache
	t   *testing.T
	now time.Time

	mu      sync.Mutex
	removed []removal
}

type removal struct {
	id       reprise.SessionID
	why      reprise.Removal
	resident bool
}

func newServer(t *testing.T, o reprise.Options) *server {
	t.Helper()
	s := &server{t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	o.Now = func() time.Time { return s.now }
	if o.Logger == nil {
		o.Logger = discard
	}
	c, err := reprise.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Cache = c
	c.SetRemoveCallback(func(_ *reprise.Cache, session *reprise.Session, why reprise.Removal, resident bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removed = append(s.removed, removal{session.ID(), why, resident})
	})
	return s
}

// expectRemoved checks the remove calls since the last time.
func (s *server) expectRemoved(want ...removal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.removed, want) {
		s.t.Errorf("remove calls %v, want %v", s.removed, want)
	}
	s.removed = nil
}

func (s *server) pass(d time.Duration) { s.now = s.now.Add(d) }

// discard is a logger for tests whose callbacks panic.
var discard = slog.New(slog.DiscardHandler)

var (
	anyInfo  = reprise.ConnectionInfo{ServerName: "www.example"}
	anySuite = tls.TLS_AES_128_GCM_SHA256
	anyOffer = reprise.Offer{Version: tls.VersionTLS13, CipherSuites: []uint16{anySuite}}
)

func anyParams() reprise.SessionParams {
	secret := make([]byte, 32)
	rand.Read(secret)
	return reprise.SessionParams{Version: tls.VersionTLS13, CipherSuite: anySuite, Secret: secret}
}

// accept begins a connection.
func (s *server) accept(info reprise.ConnectionInfo) *reprise.Connection {
	s.t.Helper()
	conn, err := s.Accept(context.Background(), info)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// full makes a full handshake and returns its session.
func (s *server) full() *reprise.Session {
	s.t.Helper()
	return s.fullWith(anyInfo, anyParams())
}

func (s *server) fullWith(info reprise.ConnectionInfo, p reprise.SessionParams) *reprise.Session {
	s.t.Helper()
	conn := s.accept(info)
	session, err := conn.NewSession(p, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	conn.Complete(true)
	return session
}

// offer makes a handshake that offers a session, and returns how that ended.
func (s *server) offer(session *reprise.Session) reprise.Reason {
	s.t.Helper()
	conn := s.accept(anyInfo)
	s.resume(conn, session.ID(), anyOffer)
	return conn.Reason()
}

// resume goes through a handshake that offers a session, with an engine that always agrees.
func (s *server) resume(conn *reprise.Connection, id reprise.SessionID, offer reprise.Offer) *reprise.Session {
	s.t.Helper()
	found, reason := conn.Lookup(id.Bytes(), offer)
	if reason == reprise.Resumed && conn.Take(found) == reprise.Resumed {
		conn.Resumed(found)
	}
	conn.Complete(true)
	return found
}

func (s *server) expectOffer(session *reprise.Session, want reprise.Reason) {
	s.t.Helper()
	if got := s.offer(session); got != want {
		s.t.Errorf("the offer ended in %q, want %q", got, want)
	}
}

func TestResumption(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	conn := s.accept(anyInfo)
	found := s.resume(conn, session.ID(), anyOffer)
	if conn.Reason() != reprise.Resumed {
		t.Fatalf("offer ended in %v", conn.Reason())
	}
	if !bytes.Equal(found.Secret(), session.Secret()) {
		t.Error("resumed with another secret")
	}
	if st := s.Stats(); st.Hits != 1 || st.Misses != 0 || st.Accept != 2 || st.AcceptGood != 2 || st.Number != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestDefaults(t *testing.T) {
	c, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode() != reprise.ModeServer || c.Size() != 20480 || c.Timeout() != 2*time.Hour {
		t.Errorf("mode %v, size %d, timeout %v", c.Mode(), c.Size(), c.Timeout())
	}
	if c.NewCallback() != nil || c.RemoveCallback() != nil || c.GetCallback() != nil || c.TakeCallback() != nil || c.GenerateID() != nil {
		t.Error("a callback is set from the start")
	}
}

// TestNoCacheWithoutAKey: without one every handshake would panic.
func TestNoCacheWithoutAKey(t *testing.T) {
	if _, err := reprise.New(reprise.Options{Keys: new(reprise.FleetKeys)}); err == nil {
		t.Error("a cache was made with fleet keys that have no key")
	}
	s := newServer(t, reprise.Options{})
	for _, keys := range []*reprise.FleetKeys{nil, new(reprise.FleetKeys)} {
		if s.SetKeys(keys) == nil {
			t.Error("fleet keys without a key were set")
		}
	}
	s.expectOffer(s.full(), reprise.Resumed)
	if info := new(reprise.FleetKeys).Info(s.now); info != nil {
		t.Errorf("no keys are described as %v", info)
	}
}

// TestSessionsOfADroppedKeyEnd: whoever has a stolen key, and a store's records, has the secrets of its sessions.
func TestSessionsOfADroppedKeyEnd(t *testing.T) {
	s := newServer(t, reprise.Options{Keys: fleetKeys(t, 2, 1)})
	current := s.full()
	if err := s.SetKeys(fleetKeys(t, 3, 2)); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved()
	s.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { return reprise.MakeSessionID([]byte("application's")) })
	generated := s.full() // too short to be stored
	if err := s.SetKeys(fleetKeys(t, 3)); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved(removal{current.ID(), reprise.RemovedRevoked, true})
	s.expectOffer(current, reprise.Unknown)
	s.expectOffer(generated, reprise.Resumed)
}

// TestGeneratedIDsOfADroppedKeyEnd: the record of such a session is sealed under any of the keys there were.
func TestGeneratedIDsOfADroppedKeyEnd(t *testing.T) {
	s := newServer(t, reprise.Options{Keys: fleetKeys(t, 1)})
	s.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) {
		return reprise.MakeSessionID([]byte("long enough to be stored"))
	})
	session := s.full()
	if err := s.SetKeys(fleetKeys(t, 2)); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved(removal{session.ID(), reprise.RemovedRevoked, true})
	s.expectOffer(session, reprise.Unknown)
}

// TestSessionsThatEnterUnderADroppedKey: they end, too; a handshake can be under way when the key is left out.
func TestSessionsThatEnterUnderADroppedKey(t *testing.T) {
	s := newServer(t, reprise.Options{Keys: fleetKeys(t, 2, 1)})
	far := newRemoteCache(s, 0).far(s, 1)[0]
	conn := s.accept(anyInfo)
	found, reason := conn.Lookup(far.ID().Bytes(), anyOffer)
	if reason != reprise.Resumed {
		t.Fatal(reason)
	}
	conn.Resumed(found)
	made, err := conn.NewSession(anyParams(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetKeys(fleetKeys(t, 3)); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved()
	conn.Complete(true)
	s.expectRemoved(removal{far.ID(), reprise.RemovedRevoked, true}, removal{made.ID(), reprise.RemovedRevoked, true})
	if n := s.Stats().Number; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestSettersReturnTheOldValue(t *testing.T) {
	s := newServer(t, reprise.Options{})
	if old := s.SetMode(reprise.ModeBoth); old != reprise.ModeServer || s.Mode() != reprise.ModeBoth {
		t.Errorf("SetMode: old %v, now %v", old, s.Mode())
	}
	if old := s.SetSize(7); old != reprise.DefaultSize || s.Size() != 7 {
		t.Errorf("SetSize: old %v, now %v", old, s.Size())
	}
	if s.SetSize(-1); s.Size() != 7 {
		t.Errorf("a negative size changed it to %d", s.Size())
	}
	if old := s.SetTimeout(time.Minute); old != reprise.DefaultTimeout || s.Timeout() != time.Minute {
		t.Errorf("SetTimeout: old %v, now %v", old, s.Timeout())
	}
	if s.SetTimeout(-1); s.Timeout() != reprise.DefaultTimeout {
		t.Errorf("a negative timeout set %v", s.Timeout())
	}
	if err := s.SetContext(make([]byte, 33)); err == nil {
		t.Error("a context of 33 bytes was accepted")
	}
	if err := s.SetContext([]byte("shop")); err != nil || string(s.Context()) != "shop" {
		t.Errorf("SetContext: %v, now %q", err, s.Context())
	}
}

// TestFirstToExpireIsFirstToGo: capacity is exactly the size, and the older session goes first among equals.
func TestFirstToExpireIsFirstToGo(t *testing.T) {
	for _, size := range []int{1, 2, 3, 50, 500} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newServer(t, reprise.Options{})
			s.SetSize(size)
			type entry struct {
				session *reprise.Session
				order   int
			}
			var entries []entry
			var removed []reprise.SessionID
			s.SetRemoveCallback(func(_ *reprise.Cache, session *reprise.Session, why reprise.Removal, _ bool) {
				if why != reprise.RemovedEvicted {
					t.Errorf("removed as %v", why)
				}
				removed = append(removed, session.ID())
			})
			for i := range 4 * size {
				p := anyParams()
				p.Timeout = time.Duration(1+(i*7919)%13) * time.Minute
				session := s.fullWith(anyInfo, p)
				if n := s.Stats().Number; n != min(i+1, size) {
					t.Fatalf("%d sessions after %d", n, i+1)
				}
				if len(entries) == size {
					first := slices.MinFunc(entries, func(a, b entry) int {
						return 2*a.session.Expiry().Compare(b.session.Expiry()) + compareInts(a.order, b.order)
					})
					if len(removed) != 1 || removed[0] != first.session.ID() {
						t.Fatalf("at %d another session went than the first to expire", i)
					}
					entries = slices.DeleteFunc(entries, func(e entry) bool { return e == first })
				}
				removed = nil
				entries = append(entries, entry{session, i})
			}
			if full := s.Stats().CacheFull; full != uint64(3*size) {
				t.Errorf("CacheFull %d, want %d", full, 3*size)
			}
		})
	}
}

func compareInts(a, b int) int {
	if a < b {
		return -1
	}
	return 1
}

func TestLoweredSizeTakesEffectAtTheNextEntry(t *testing.T) {
	s := newServer(t, reprise.Options{})
	for range 4 {
		s.full()
	}
	s.SetSize(2)
	if n := s.Stats().Number; n != 4 {
		t.Errorf("%d sessions after SetSize", n)
	}
	s.full()
	if n := s.Stats().Number; n != 2 {
		t.Errorf("%d sessions after the next entry", n)
	}
	s.SetSize(0)
	for range 100 {
		s.full()
	}
	if n := s.Stats().Number; n != 102 {
		t.Errorf("%d sessions without a limit", n)
	}
}

func TestFlush(t *testing.T) {
	s := newServer(t, reprise.Options{})
	ids := make(map[int]reprise.SessionID)
	for _, seconds := range []int{300, 100, 400, 200} {
		p := anyParams()
		p.Timeout = time.Duration(seconds) * time.Second
		ids[seconds] = s.fullWith(anyInfo, p).ID()
	}
	start := s.now
	s.pass(150 * time.Second)
	s.Flush(start.Add(200 * time.Second)) // strictly before
	s.expectRemoved(removal{ids[100], reprise.RemovedExpired, true})
	s.Flush(start.Add(201 * time.Second))
	s.expectRemoved(removal{ids[200], reprise.RemovedFlushed, true})
	s.Flush(time.Time{})
	s.expectRemoved(removal{ids[300], reprise.RemovedFlushed, true}, removal{ids[400], reprise.RemovedFlushed, true})
	if st := s.Stats(); st.Number != 0 || st.Timeouts != 0 || st.CacheFull != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestAutomaticFlushEvery255Connections(t *testing.T) {
	for _, auto := range []bool{true, false} {
		s := newServer(t, reprise.Options{})
		if !auto {
			s.SetMode(reprise.ModeServer | reprise.ModeNoAutoClear)
		}
		session := s.full()
		s.pass(3 * time.Hour)
		for range 253 {
			s.accept(anyInfo).Complete(true)
		}
		s.expectRemoved()
		s.accept(anyInfo).Complete(true)
		if auto {
			s.expectRemoved(removal{session.ID(), reprise.RemovedExpired, true})
		} else {
			s.expectRemoved()
		}
	}
}

func TestExpiry(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	s.pass(2 * time.Hour)
	s.expectOffer(session, reprise.Resumed) // an age of all the timeout is still valid
	s.pass(time.Millisecond)
	s.expectOffer(session, reprise.Expired)
	s.expectRemoved(removal{session.ID(), reprise.RemovedExpired, true})
	s.expectOffer(session, reprise.Unknown)
	if st := s.Stats(); st.Timeouts != 1 || st.Misses != 1 || st.Hits != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestSessionOfTheFuture: a clock that is put back, or another node's that is ahead, makes no session live longer.
func TestSessionOfTheFuture(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	s.pass(-time.Hour)
	s.expectOffer(session, reprise.Resumed)
	s.pass(-time.Millisecond)
	s.expectOffer(session, reprise.Expired)
	s.pass(-365 * 24 * time.Hour)
	s.expectOffer(session, reprise.Expired)
	s.pass(365*24*time.Hour + time.Hour)
	s.expectOffer(session, reprise.Resumed)
	s.expectRemoved()
}

func TestRemove(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	if !s.Remove(session) {
		t.Error("the session was not resident")
	}
	s.expectRemoved(removal{session.ID(), reprise.RemovedExplicitly, true})
	if s.Remove(session) {
		t.Error("resident after it was removed")
	}
	s.expectRemoved(removal{session.ID(), reprise.RemovedExplicitly, false})
	s.expectOffer(session, reprise.Unknown)

	other := s.full()
	if !s.Forget(other.ID()) || s.Forget(other.ID()) {
		t.Error("Forget")
	}
	s.expectRemoved(removal{other.ID(), reprise.RemovedElsewhere, true})
}

func TestAdd(t *testing.T) {
	s := newServer(t, reprise.Options{})
	announced := 0
	s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { announced++; return true })
	session := s.full()
	announced = 0
	s.SetMode(reprise.ModeOff)
	if err := s.Add(session); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved() // it is there already
	params := paramsOf(session)
	params.Timeout = time.Minute
	other := newSession(t, params)
	if err := s.Add(other); err != nil {
		t.Fatal(err)
	}
	s.expectRemoved(removal{session.ID(), reprise.RemovedReplaced, true})
	if announced != 0 {
		t.Error("Add called the new callback")
	}
	s.expectOffer(other, reprise.Resumed)
	if s.Add(new(reprise.Session)) == nil || s.Stats().Number != 1 {
		t.Error("a session that nobody made was added")
	}
}

func TestClose(t *testing.T) {
	s := newServer(t, reprise.Options{})
	var want []removal
	for range 10 {
		want = append(want, removal{s.full().ID(), reprise.RemovedClosed, true})
		s.pass(time.Second)
	}
	open := s.accept(anyInfo)
	if _, err := open.NewSession(anyParams(), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s.expectRemoved(want...)
	open.Complete(true) // is not kept
	s.expectRemoved()
	if st := s.Stats(); st.Number != 0 {
		t.Errorf("%d sessions after Close", st.Number)
	}
	if _, err := s.Accept(t.Context(), anyInfo); !errors.Is(err, reprise.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

func TestAll(t *testing.T) {
	s := newServer(t, reprise.Options{})
	want := make(map[reprise.SessionID]bool)
	for range 3000 {
		want[s.full().ID()] = true
	}
	seen := 0
	s.All(func(session *reprise.Session) bool {
		if !want[session.ID()] {
			t.Error("a session that was not added, or twice")
		}
		delete(want, session.ID())
		seen++
		s.Remove(session)
		return seen < 2500
	})
	if seen != 2500 || s.Stats().Number != 500 {
		t.Errorf("%d seen, %d left", seen, s.Stats().Number)
	}
}

func TestHandleIsNoID(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	handle := s.Handle(session.ID())
	if len(handle) != 12 || handle != s.Handle(session.ID()) || bytes.HasPrefix(session.ID().Bytes(), []byte(handle)) {
		t.Errorf("handle %q", handle)
	}
	if handle == fmt.Sprintf("%x", session.ID().Bytes()[:6]) {
		t.Error("the handle is a prefix of the ID")
	}
}

func TestGenerateID(t *testing.T) {
	s := newServer(t, reprise.Options{})
	var next []byte
	calls := 0
	s.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) {
		calls++
		return reprise.MakeSessionID(next)
	})
	next = []byte{1}
	session := s.full()
	if !bytes.Equal(session.ID().Bytes(), next) {
		t.Errorf("another ID than the generator's")
	}
	s.expectOffer(session, reprise.Resumed)

	calls = 0
	conn := s.accept(anyInfo)
	if _, err := conn.NewSession(anyParams(), nil); err == nil || calls != 10 {
		t.Errorf("an ID in use: error %v after %d calls", err, calls)
	}
	next = nil
	if _, err := conn.NewSession(anyParams(), nil); err == nil {
		t.Error("an empty ID was accepted")
	}
	s.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { panic("no") })
	if _, err := conn.NewSession(anyParams(), nil); err == nil {
		t.Error("a generator that panics made an ID")
	}
}

// TestNewSessionOfAnIDThatIsThere takes the place of that one, and evicts no other.
func TestNewSessionOfAnIDThatIsThere(t *testing.T) {
	s := newServer(t, reprise.Options{})
	s.SetSize(2)
	other, p := s.full(), anyParams()
	p.ID, _ = reprise.MakeSessionID([]byte("the application's own"))
	first := s.fullWith(anyInfo, p)
	second := s.fullWith(anyInfo, p)
	if s.Lookup(other.ID()) == nil || s.Lookup(second.ID()) == nil || s.Stats().CacheFull != 0 {
		t.Errorf("a session was evicted: %+v", s.Stats())
	}
	s.expectRemoved(removal{first.ID(), reprise.RemovedReplaced, true})
}

// TestLookupIntoDoesNotAllocate, whether or not the session is there.
func TestLookupIntoDoesNotAllocate(t *testing.T) {
	s := newServer(t, reprise.Options{})
	there, gone := s.full(), s.full()
	s.Remove(gone)
	var into reprise.Session
	for id, want := range map[reprise.SessionID]bool{there.ID(): true, gone.ID(): false} {
		if n := testing.AllocsPerRun(100, func() {
			if s.LookupInto(id, &into) != want {
				t.Fatalf("found %v, want %v", !want, want)
			}
		}); n > 0 {
			t.Errorf("found %v: %v allocations", want, n)
		}
	}
}
