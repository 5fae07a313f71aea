package reprise_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// fleetKeys returns fleet keys of which each is a byte, the current one first.
func fleetKeys(t *testing.T, secrets ...byte) *reprise.FleetKeys {
	t.Helper()
	var all [][]byte
	for _, b := range secrets {
		all = append(all, bytes.Repeat([]byte{b}, reprise.FleetKeyLength))
	}
	k, err := reprise.NewFleetKeys(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSessionIsFoundOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		a, b := newNode(t, store, fleetKeys(t, 1), oneWriter), newNode(t, store, fleetKeys(t, 1), oneWriter)
		p := fullParams(t)
		p.ID, p.Created, p.Lineage = a.make().ID(), time.Now(), reprise.Lineage{}
		s := newSession(t, p)
		a.announce(s)
		a.flush()
		got, err := b.get(s.ID())
		if err != nil || got == nil || !reflect.DeepEqual(paramsOf(got), paramsOf(s)) {
			t.Errorf("found %v, %v", got, err)
		}
	})
}

// TestResumptionOnAnotherNode goes the whole way, through the cache.
func TestResumptionOnAnotherNode(t *testing.T) {
	for _, single := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			a, b := newNode(t, store, fleetKeys(t, 1), oneWriter), newNode(t, store, fleetKeys(t, 1), oneWriter)
			s := a.full(single)
			a.flush()
			if reason := b.resume(s); reason != reprise.Resumed {
				t.Errorf("single use %v: %v", single, reason)
			}
			want := reprise.Resumed
			if single {
				want = reprise.Unknown
			}
			if reason := b.resume(s); reason != want {
				t.Errorf("again, single use %v: %v, want %v", single, reason, want)
			}
			if single { // the first node has it in its internal cache still
				if reason := a.resume(s); reason != reprise.Used {
					t.Errorf("where it was made: %v", reason)
				}
			}
			a.flush()
			b.flush()
			if slices.Contains(store.seen(), "delete") {
				t.Error("what was taken is deleted too")
			}
		})
	}
}

// full makes a full handshake.
func (n *node) full(singleUse bool) *reprise.Session {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), anyInfo)
	if err != nil {
		n.t.Fatal(err)
	}
	p := anyParams()
	p.SingleUse = singleUse
	s, err := conn.NewSession(p, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	conn.Complete(true)
	return s
}

// resume offers a session.
func (n *node) resume(s *reprise.Session) reprise.Reason {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), anyInfo)
	if err != nil {
		n.t.Fatal(err)
	}
	found, reason := conn.Lookup(s.ID().Bytes(), anyOffer)
	if reason == reprise.Resumed {
		reason = conn.Take(found)
	}
	if reason == reprise.Resumed {
		conn.Resumed(found)
	}
	conn.Complete(true)
	return reason
}

// TestStoreFailuresAreDeclines: with their reasons, and never longer than the deadline.
func TestStoreFailuresAreDeclines(t *testing.T) {
	for _, c := range []struct {
		fault fault
		want  reprise.Reason
	}{
		{fail, reprise.StoreError},
		{slow(time.Hour), reprise.StoreTimeout},
		{func(context.Context) error { panic("in the store") }, reprise.StoreError},
		{func(context.Context) error { runtime.Goexit(); return nil }, reprise.StoreError},
	} {
		for _, method := range []string{"get", "take"} {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				a, b := newNode(t, store, fleetKeys(t, 1), oneWriter), newNode(t, store, fleetKeys(t, 1), oneWriter)
				s := a.full(true)
				a.flush()
				store.beforeCall(c.fault, method)
				began := time.Now()
				if reason := b.resume(s); reason != c.want {
					t.Errorf("%s: %v, want %v", method, reason, c.want)
				}
				if waited := time.Since(began); waited > reprise.DefaultLookupTimeout {
					t.Errorf("%s: waited %v", method, waited)
				}
				synctest.Wait() // the call ends at the same moment; who comes before that shares it
				store.beforeCall(nil, method)
				if reason := b.resume(s); reason != reprise.Resumed {
					t.Errorf("%s, once the store works: %v", method, reason)
				}
			})
		}
	}
}

func TestStoreThatDoesNotReturnHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{Writers: 1, WriteTimeout: time.Second})
		s := n.stored(singleUse)
		f, release := hang()
		defer release()
		store.beforeCall(f, allMethods...)
		began := time.Now()
		if _, err := n.get(s.ID()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
		if _, err := n.take(s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take: %v", err)
		}
		if waited := time.Since(began); waited != 2*reprise.DefaultLookupTimeout {
			t.Errorf("waited %v", waited)
		}
		store.beforeCall(nil, "get") // or the breaker opens, and nothing is written until it closes
		n.remove(s, reprise.RemovedRevoked)
		n.announce(n.make())
		time.Sleep(10 * time.Second)
		if got := n.stats(); got.PutsFailed != 1 || got.Deletes < 4 {
			t.Errorf("the writer is stuck: %+v", got)
		}
	})
}

func TestOnlyFinalRemovalsDelete(t *testing.T) {
	final := []reprise.Removal{
		reprise.RemovedExplicitly, reprise.RemovedUnclean, reprise.RemovedFatalAlert, reprise.RemovedUsed, reprise.RemovedRevoked,
	}
	here := []reprise.Removal{
		reprise.RemovedExpired, reprise.RemovedEvicted, reprise.RemovedFlushed, reprise.RemovedReplaced, reprise.RemovedClosed,
		reprise.RemovedElsewhere,
	}
	for _, why := range append(here, final...) {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, oneWriter)
			s := n.stored()
			n.remove(s, why)
			n.flush()
			want := []string{"put"}
			if slices.Contains(final, why) {
				want = append(want, "delete")
			}
			if got := store.seen(); !slices.Equal(got, want) {
				t.Errorf("%v: the store has carried out %q", why, got)
			}
		})
	}
}

func TestRestartKeepsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		a := newNode(t, store, fleetKeys(t, 1), oneWriter)
		a.SetSize(2)
		var sessions []*reprise.Session
		for range 5 {
			sessions = append(sessions, a.full(false)) // evicts three
		}
		a.Cache.Flush(time.Time{})
		sessions = append(sessions, a.full(true))
		if err := errors.Join(a.Cache.Close(), a.StoreBinding.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		b := newNode(t, store, fleetKeys(t, 1), oneWriter)
		for i, s := range sessions {
			if reason := b.resume(s); reason != reprise.Resumed {
				t.Errorf("session %d: %v", i, reason)
			}
		}
	})
}

func TestForeignIDReachesNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		forged := n.make().ID().Bytes()
		forged[3] ^= 1
		other := newNode(t, store, fleetKeys(t, 2), oneWriter)
		foreign := [][]byte{forged, forged[:31], forged[:1], bytes.Repeat([]byte{0}, 32), other.make().ID().Bytes()}
		for _, b := range foreign {
			id, err := reprise.MakeSessionID(b)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := n.get(id); s != nil || err != nil {
				t.Errorf("get: %v, %v", s, err)
			}
		}
		s := other.make(singleUse)
		n.announce(s)
		n.takes(s, false)
		n.remove(s, reprise.RemovedExplicitly)
		n.flush()
		if got := store.started(); len(got) > 0 {
			t.Errorf("the store has heard of it: %q", got)
		}
		if got := n.stats(); got.Foreign != uint64(len(foreign)) || got.Unsealed != 1 {
			t.Errorf("%d foreign IDs, %d sessions unsealed", got.Foreign, got.Unsealed)
		}
	})
}

func TestSessionsOfPreviousKeysAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		s, taken, deleted := n.stored(), n.stored(singleUse), n.stored()
		n.rotate(fleetKeys(t, 2, 1))
		n.has(s)
		n.takes(taken, true)
		n.remove(deleted, reprise.RemovedExplicitly)
		n.flush()
		n.hasNot(deleted)
		store.saw(t, "put", "put", "put", "get", "take", "delete", "get") // one key is the right one, no other is tried
		n.rotate(fleetKeys(t, 2))
		n.hasNot(s)
	})
}

// TestRotationInAFleet: while keys are rotated, every node resumes the sessions of every other.
func TestRotationInAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		parse := func(text string) *reprise.FleetKeys {
			k, err := reprise.ParseFleetKeys([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		old := "reprise-fleet-key-1 " + hexKeyA + "\n"
		rotated := old + "reprise-fleet-key-1 " + hexKeyB + " " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		nodes := []*node{newNode(t, store, parse(old), oneWriter), newNode(t, store, parse(old), oneWriter)}
		var sessions []*reprise.Session
		check := func(when string) {
			for _, n := range nodes {
				sessions = append(sessions, n.stored())
			}
			for i, s := range sessions {
				if got, err := nodes[i%2].get(s.ID()); got == nil || err != nil {
					t.Errorf("%s, session %d: %v, %v", when, i, got, err)
				}
				if got, err := nodes[(i+1)%2].get(s.ID()); got == nil || err != nil {
					t.Errorf("%s, session %d of the other node: %v, %v", when, i, got, err)
				}
			}
		}
		check("before")
		nodes[0].rotate(parse(rotated))
		check("with the new file on one node")
		nodes[1].rotate(parse(rotated))
		check("with the new file everywhere")
		time.Sleep(time.Hour)
		check("with the new key")
	})
}

func TestIDsOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		length := 16
		n.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) {
			id := n.randomID(length)
			return id, nil
		})
		s := n.stored()
		single, deleted := n.stored(singleUse), n.stored()
		n.has(s)
		store.saw(t, "put", "put", "put", "get")

		// All keys are tried in order, the current one first.
		n.rotate(fleetKeys(t, 3, 2, 1))
		n.has(s)
		if got := n.stats().Gets; got != 4 {
			t.Errorf("%d gets, want one and then three", got)
		}
		n.takes(single, true)
		n.takes(single, false)
		n.remove(deleted, reprise.RemovedExplicitly)
		n.flush()
		n.hasNot(deleted)
		if got := n.stats().Deletes; got != 3 {
			t.Errorf("%d deletes, want one under each key", got)
		}

		// IDs that are too short to seal with stay here.
		length = 15
		begun := len(store.started())
		short := n.stored()
		n.hasNot(short)
		n.takes(short, false)
		if got := store.started()[begun:]; len(got) > 0 {
			t.Errorf("the store has heard of a short ID: %q", got)
		}
		if got := n.stats(); got.Unsealed != 1 || got.Foreign != 1 {
			t.Errorf("%d unsealed, %d foreign", got.Unsealed, got.Foreign)
		}

		// Without a generator such IDs are foreign.
		n.SetGenerateID(nil)
		n.hasNot(s)
	})
}

func (n *node) randomID(length int) reprise.SessionID {
	n.t.Helper()
	id, err := reprise.MakeSessionID(anyParams().Secret[:length])
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// TestRecordsOfAWriterAreAbsent: who can write to the store can't make sessions, nor pass one off as another.
func TestRecordsOfAWriterAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		mine := n.stored(singleUse)
		myKey, record := onlyRecord(t, store)
		other := n.stored(singleUse)
		for name, forged := range map[string][]byte{
			"garbage":                  []byte("garbage"),
			"one byte":                 {1},
			"a changed record":         append(record[:len(record)-1:len(record)-1], record[len(record)-1]^1),
			"another session's record": recordBut(t, store, myKey),
		} {
			if err := store.Store.Put(t.Context(), myKey, forged, time.Hour); err != nil {
				t.Fatal(err)
			}
			before := n.stats().Damaged
			n.hasNot(mine)
			n.takes(mine, false)
			if got := n.stats().Damaged - before; got != 2 {
				t.Errorf("%s: %d damaged records counted", name, got)
			}
		}
		n.has(other)
	})
}

// onlyRecord returns the only record of a store.
func onlyRecord(t *testing.T, s *faultyStore) (key reprise.StoreKey, record []byte) {
	t.Helper()
	n := 0
	err := s.Each(t.Context(), func(k reprise.StoreKey, r []byte, _ time.Time) bool {
		key, record = k, bytes.Clone(r)
		n++
		return true
	})
	if err != nil || n != 1 {
		t.Fatalf("%d records, %v", n, err)
	}
	return key, record
}

// recordBut returns a record that is not under the key given.
func recordBut(t *testing.T, s *faultyStore, but reprise.StoreKey) (record []byte) {
	t.Helper()
	if err := s.Each(t.Context(), func(k reprise.StoreKey, r []byte, _ time.Time) bool {
		if k != but {
			record = bytes.Clone(r)
		}
		return record == nil
	}); err != nil || record == nil {
		t.Fatal("no other record", err)
	}
	return record
}

func TestHandleIsAPrefixOfTheStoreKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		s := n.stored()
		key, _ := onlyRecord(t, store)
		if got, want := n.Handle(s.ID()), fmt.Sprintf("%x", key[:6]); got != want {
			t.Errorf("handle %s, store key %s…", got, want)
		}
	})
}

// An incarnatedStore has lives.
type incarnatedStore struct {
	*faultyStore
	life, heard atomic.Uint64
}

func (s *incarnatedStore) Incarnation(reprise.StoreKey) uint64 { return s.heard.Load() }

func (s *incarnatedStore) TakeIncarnated(ctx context.Context, key reprise.StoreKey) ([]byte, uint64, bool, error) {
	record, ok, err := s.Take(ctx, key)
	return record, s.life.Load(), ok, err
}

// begin begins another life of the store, of which it will tell.
func (s *incarnatedStore) begin() { s.heard.Store(s.life.Add(1)) }

func (s *incarnatedStore) TakePromise() reprise.TakePromise { return reprise.TakePromise{Atomic: true} }

func TestSingleUseEndsWithTheLifeOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &incarnatedStore{faultyStore: &faultyStore{}}
		n := newNode(t, store, nil, oneWriter)
		s, single, late := n.stored(), n.stored(singleUse), n.stored(singleUse)
		n.has(single)
		store.begin()
		n.has(s)
		n.hasNot(single)
		n.takes(late, false)
		n.takes(n.stored(singleUse), true)
		unheard := n.stored(singleUse)
		store.life.Add(1)
		n.takes(unheard, false)
		if got := n.stats().Stale; got != 3 {
			t.Errorf("%d stale records", got)
		}
		if n.StoreBinding.TakePromise() != (reprise.TakePromise{Atomic: true, Durable: true}) { // by its incarnations
			t.Error("the store's promise is not passed on")
		}
		if p := newNode(t, &plainStore{}, nil, oneWriter).StoreBinding.TakePromise(); p != (reprise.TakePromise{}) {
			t.Errorf("a store that promises nothing promises %+v", p)
		}
	})
}

// A plainStore is a store and nothing more.
type plainStore struct{ store memory.Store }

func (s *plainStore) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	return s.store.Put(ctx, key, record, lifetime)
}

func (s *plainStore) Get(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	return s.store.Get(ctx, key)
}

func (s *plainStore) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	return s.store.Take(ctx, key)
}

func (s *plainStore) Delete(ctx context.Context, key reprise.StoreKey) error {
	return s.store.Delete(ctx, key)
}

func TestBindStoreRefuses(t *testing.T) {
	for name, set := range map[string]func(c *reprise.Cache){
		"new": func(c *reprise.Cache) { c.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { return true }) },
		"remove": func(c *reprise.Cache) {
			c.SetRemoveCallback(func(*reprise.Cache, *reprise.Session, reprise.Removal, bool) {})
		},
		"get": func(c *reprise.Cache) {
			c.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return nil, nil })
		},
		"take": func(c *reprise.Cache) {
			c.SetTakeCallback(func(context.Context, *reprise.Session) (bool, error) { return false, nil })
		},
	} {
		c, err := reprise.New(reprise.Options{Keys: fleetKeys(t, 1)})
		if err != nil {
			t.Fatal(err)
		}
		set(c)
		if _, err := reprise.BindStore(c, &plainStore{}, reprise.StoreOptions{}); err == nil {
			t.Errorf("bound over a %s callback", name)
		}
	}
	c, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reprise.BindStore(c, &plainStore{}, reprise.StoreOptions{}); err == nil || !strings.Contains(err.Error(), "Options.Keys") {
		t.Errorf("bound without fleet keys: %v", err)
	}
}

func TestBreakerLeavesADeadStoreAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		var states []reprise.BreakerState
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s, single, deleted := n.stored(), n.stored(singleUse), n.stored()

		store.beforeCall(slow(time.Hour), allMethods...)
		for range 5 {
			if _, err := n.get(s.ID()); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("get: %v", err)
			}
			synctest.Wait()
		}
		if got := n.stats().Breaker; got != reprise.BreakerOpen {
			t.Fatalf("breaker %v after 5 timeouts", got)
		}

		// Handshakes don't wait, and the store has its peace but for a few probes, two a second at last.
		died, calls := time.Now(), len(store.started())
		for range 1000 {
			if _, err := n.get(s.ID()); !errors.Is(err, reprise.ErrStoreUnavailable) || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("get: %v", err)
			}
			if _, err := n.take(single); !errors.Is(err, reprise.ErrStoreUnavailable) {
				t.Fatalf("take: %v", err)
			}
		}
		if waited := time.Since(died); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		queued := n.make()
		n.announce(queued)
		n.remove(deleted, reprise.RemovedFatalAlert)
		n.has(queued)
		n.hasNot(deleted)
		for range 10 {
			time.Sleep(time.Second)
			if got := n.stats().Breaker; !slices.Contains(states, got) {
				states = append(states, got)
			}
			time.Sleep(20 * time.Millisecond)
			if got := n.stats().Breaker; !slices.Contains(states, got) {
				states = append(states, got)
			}
		}
		if got := len(store.started()) - calls; got < 18 || got > 20 {
			t.Errorf("%d calls of a dead store in 10 seconds", got)
		}
		if !slices.Contains(states, reprise.BreakerHalfOpen) || !slices.Contains(states, reprise.BreakerOpen) {
			t.Errorf("states seen: %v", states)
		}

		// It is back within 2 seconds after the store is, and nothing that was queued is lost.
		store.beforeCall(nil, allMethods...)
		time.Sleep(2 * time.Second)
		n.has(s)
		n.takes(single, true)
		n.hasNot(deleted)
		n.flush()
		got := n.stats()
		if got.Breaker != reprise.BreakerClosed || got.BreakerOpened != 1 || got.PutsFailed+got.PutsDropped+got.DeletesLost != 0 {
			t.Errorf("stats %+v", got)
		}
		if _, ok, err := store.Store.Get(t.Context(), storeKeyOf(t, store, n, queued)); !ok || err != nil {
			t.Errorf("the queued put: %v, %v", ok, err)
		}

		// And again.
		store.beforeCall(fail, allMethods...)
		n.failsFiveGets(s)
		if got := n.stats(); got.BreakerOpened != 2 {
			t.Errorf("stats of a store that died twice: %+v", got)
		}
	})
}

// storeKeyOf finds the store key of a session by its handle.
func storeKeyOf(t *testing.T, store *faultyStore, n *node, s *reprise.Session) (key reprise.StoreKey) {
	t.Helper()
	if err := store.Each(t.Context(), func(k reprise.StoreKey, _ []byte, _ time.Time) bool {
		if fmt.Sprintf("%x", k[:6]) == n.Handle(s.ID()) {
			key = k
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return key
}

// failsFiveGets opens the breaker of a store that has a fault.
func (n *node) failsFiveGets(s *reprise.Session) {
	n.t.Helper()
	for range 5 {
		if _, err := n.get(s.ID()); !errors.Is(err, errFault) {
			n.t.Fatalf("get: %v", err)
		}
	}
}

// TestBreakerAfterAShortStall: a store that has stood still for no longer than lookups may take is asked again soon.
func TestBreakerAfterAShortStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		store.beforeCall(fail, "get")
		n.failsFiveGets(s)
		store.beforeCall(nil, "get")
		time.Sleep(60 * time.Millisecond)
		n.has(s)
	})
}

func TestBreakerStatesHaveNames(t *testing.T) {
	b, err := json.Marshal([]reprise.BreakerState{reprise.BreakerClosed, reprise.BreakerOpen, reprise.BreakerHalfOpen, 9})
	if err != nil || string(b) != `["closed","open","half-open","invalid"]` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestBreakerOpensAfterFailuresInARowOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		for range 20 {
			store.beforeCall(fail, "get")
			for range 4 {
				if _, err := n.get(s.ID()); !errors.Is(err, errFault) {
					t.Fatalf("get: %v", err)
				}
			}
			store.beforeCall(nil, "get")
			n.has(s)
		}
		if got := n.stats(); got.BreakerOpened != 0 || got.Errors != 80 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		store.beforeCall(slow(10*time.Millisecond), "put")
		sessions := make([]*reprise.Session, 50)
		for i := range sessions {
			sessions[i] = n.make()
			n.announce(sessions[i])
		}
		announce, remove, get, take := n.NewCallback(), n.RemoveCallback(), n.GetCallback(), n.TakeCallback()
		if err := n.StoreBinding.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := n.stats(); got.Puts != 50 || got.PutsFailed+got.PutsDropped != 0 {
			t.Errorf("stats %+v", got)
		}
		if n.NewCallback() != nil || n.RemoveCallback() != nil || n.GetCallback() != nil || n.TakeCallback() != nil {
			t.Error("callbacks are still set")
		}
		// Connections that are still there may have got hold of the callbacks.
		if !announce(n.Cache, n.make()) {
			t.Error("the new callback refuses")
		}
		remove(n.Cache, sessions[0], reprise.RemovedExplicitly, true)
		if _, err := get(t.Context(), sessions[0].ID()); !errors.Is(err, reprise.ErrStoreUnavailable) {
			t.Errorf("get: %v", err)
		}
		if _, err := take(t.Context(), sessions[0]); !errors.Is(err, reprise.ErrStoreUnavailable) {
			t.Errorf("take: %v", err)
		}
		if got := n.stats(); got.PutsDropped != 1 || got.DeletesLost != 1 {
			t.Errorf("%d puts dropped, %d deletes lost", got.PutsDropped, got.DeletesLost)
		}
		if err := n.StoreBinding.Close(t.Context()); err != nil {
			t.Errorf("closed again: %v", err)
		}
		// The store is still open, and can be bound again.
		b, err := reprise.BindStore(n.Cache, store, oneWriter)
		if err != nil {
			t.Fatalf("bound again: %v", err)
		}
		if err := n.StoreBinding.Close(t.Context()); err != nil {
			t.Errorf("closed once more: %v", err)
		}
		n.has(sessions[0]) // by the callbacks of the new binding
		b.Close(t.Context())
	})
}

func TestCloseOfADeadStoreSaysWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		s := n.stored()
		store.beforeCall(slow(time.Hour), allMethods...)
		for range 3 {
			n.announce(n.make())
		}
		n.remove(s, reprise.RemovedRevoked)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := n.StoreBinding.Close(ctx)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 puts and 1 deletes") {
			t.Errorf("close: %v", err)
		}
		if waited := time.Since(began); waited != 500*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		if got := n.stats(); got.PutsDropped+got.PutsFailed != 3 || got.DeletesLost != 1 || got.Queued != 0 || got.QueuedBytes != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// TestCloseWithOpenBreaker also ends its probing. A goroutine left behind fails the test.
// TestFlushAfterClose: what was given up is not waited for.
func TestFlushAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		store.beforeCall(fail, allMethods...)
		n := newNode(t, store, nil, oneWriter)
		n.remove(n.make(), reprise.RemovedExplicitly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waiting := make(chan error)
		go func() { waiting <- n.StoreBinding.Flush(t.Context()) }()
		if n.StoreBinding.Close(ctx) == nil {
			t.Error("a lost delete is no error")
		}
		closed := time.Now()
		if err := <-waiting; err == nil || time.Since(closed) > 0 {
			t.Errorf("a Flush under way: %v after %v", err, time.Since(closed))
		}
		if err := n.StoreBinding.Flush(t.Context()); err != nil || time.Since(closed) > 0 {
			t.Errorf("Flush: %v after %v", err, time.Since(closed))
		}
	})
}

func TestCloseWithOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		store.beforeCall(fail, "get")
		n.failsFiveGets(s)
		n.announce(n.make())
		time.Sleep(1500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := n.StoreBinding.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestCloseEndsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{ReadTimeout: time.Hour})
		s := n.stored()
		store.beforeCall(slow(time.Hour), "get")
		go func() {
			if _, err := n.GetCallback()(context.Background(), s.ID()); !errors.Is(err, reprise.ErrStoreUnavailable) {
				t.Errorf("get: %v", err)
			}
		}()
		synctest.Wait()
		if err := n.StoreBinding.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := n.stats(); got.Errors+got.Timeouts != 0 {
			t.Errorf("the store is blamed for it: %+v", got)
		}
	})
}

// A sweptStore counts its sweeps.
type sweptStore struct {
	plainStore
	sweeps atomic.Int64
}

func (s *sweptStore) Sweep(ctx context.Context) (int, error) {
	switch s.sweeps.Add(1) {
	case 2:
		panic("in the store")
	case 3:
		return 0, errFault
	}
	return s.store.Sweep(ctx)
}

func TestSweepsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sweptStore{}
		n := newNode(t, store, nil, oneWriter)
		for range 3 {
			n.stored(func(p *reprise.SessionParams) { p.Timeout = time.Second })
		}
		time.Sleep(10*time.Minute + time.Second)
		if got := store.sweeps.Load(); got != 10 {
			t.Errorf("%d sweeps in 10 minutes", got)
		}
		if got := n.stats().Swept; got != 3 {
			t.Errorf("%d records swept", got)
		}
	})
}

// TestWarnsOfForeignIDs: once a minute at most, and only while they become more.
func TestWarnsOfForeignIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := reprise.New(reprise.Options{Keys: fleetKeys(t, 1), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		b, err := reprise.BindStore(c, &plainStore{}, oneWriter)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		n := &node{c, b, t}
		foreign := n.randomID(32)
		for minute, c := range []struct{ ids, warnings int }{{60, 0}, {1000, 1}, {1000, 0}, {1500, 0}, {4000, 1}, {10, 0}, {70, 1}} {
			log.Reset()
			for range c.ids {
				n.hasNoID(foreign)
			}
			if got := strings.Count(log.String(), "level=WARN"); got != c.warnings {
				t.Errorf("minute %d: %d warnings of %d IDs: %s", minute, got, c.ids, log.String())
			}
			if strings.Contains(log.String(), fmt.Sprintf("%x", foreign.Bytes()[:4])) {
				t.Error("the log shows an ID")
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestWarnsOfDroppedPuts, once a minute.
func TestWarnsOfDroppedPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := reprise.New(reprise.Options{Keys: fleetKeys(t, 1), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		store := &faultyStore{}
		store.beforeCall(slow(time.Hour), "put")
		b, err := reprise.BindStore(c, store, reprise.StoreOptions{QueueLength: 2, Writers: 1, WriteTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{c, b, t}
		for minute, want := range []string{"dropped since the start\"=1", "dropped since the start\"=6"} {
			log.Reset()
			for range 5 + 2*(1-minute) {
				n.announce(n.make())
			}
			if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, want) {
				t.Errorf("minute %d: %s; want a warning of %s", minute, got, want)
			}
			time.Sleep(time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.Close(ctx)
	})
}

// TestCloseTellsOfPutsThatFail: the last puts fail, and nobody else would say so.
func TestCloseTellsOfPutsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		store.beforeCall(func(ctx context.Context) error {
			_ = slow(time.Millisecond)(ctx) // until Close waits for it
			return errFault
		}, "put")
		n.announce(n.make())
		if err := n.StoreBinding.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 of the last puts") {
			t.Errorf("Close returned %v", err)
		}
	})
}

// TestRandomIDIsNoOffer: a client of TLS 1.3 makes up a session ID. It says nothing about fleet keys, reaches no store, and was no
// offer; one that a fleet key has made was.
func TestRandomIDIsNoOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		elsewhere := newNode(t, &faultyStore{}, fleetKeys(t, 1), oneWriter).make().ID()
		for _, test := range []struct {
			id          reprise.SessionID
			mayBeRandom bool
			want        reprise.Reason
		}{
			{n.randomID(32), true, reprise.NotOffered},
			{n.randomID(32), false, reprise.Unknown},
			{n.randomID(4), true, reprise.NotOffered},
			{elsewhere, true, reprise.Unknown},
		} {
			connection, err := n.Accept(t.Context(), anyInfo)
			if err != nil {
				t.Fatal(err)
			}
			_, reason := connection.Lookup(test.id.Bytes(), reprise.Offer{Version: tls.VersionTLS12, MayBeRandom: test.mayBeRandom})
			connection.Complete(true)
			if reason != test.want || connection.Reason() != test.want {
				t.Errorf("lookup of an ID of %d bytes, may be random %v: %v, want %v", test.id.Len(), test.mayBeRandom, reason, test.want)
			}
		}
		if got := n.stats().Foreign; got != 1 {
			t.Errorf("%d foreign IDs were counted, want that of the client that makes up none", got)
		}
		if got := store.started(); len(got) != 1 {
			t.Errorf("the store has heard of %q, want one get", got)
		}
	})
}
