package quic_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A promisingStore says of its take what it is told to.
type promisingStore struct {
	reprise.Store
	promise reprise.TakePromise
}

func (s *promisingStore) TakePromise() reprise.TakePromise { return s.promise }

// goodStore returns a store for the nodes of one process that promises all, and rightly as long as the test does not end.
func goodStore() *promisingStore {
	return &promisingStore{new(memory.Store), reprise.TakePromise{Atomic: true, Durable: true}}
}

// TestEarlyDataOnce: each session brings early data once, wherever it comes first, and then nothing any more.
func TestEarlyDataOnce(t *testing.T) {
	_, nodes := onRedis(t, 3)
	session := nodes[0].visitFull()
	first := nodes[1].visit(session, "early")
	expect(t, "first use", first, true, true)
	for i, n := range nodes {
		text := fmt.Sprintf("again %d", i)
		expect(t, text, n.visit(session, text), false, false)
		if got := count(text, nodes...); got != 1 {
			t.Errorf("%q arrived %d times", text, got)
		}
	}
	for _, n := range nodes {
		n.expectGone(1)
	}

	nodes[1].flush()
	expect(t, "the session of a resumption", nodes[2].visit(first.session, "next"), true, true)
}

// TestEarlyDataRace offers a session to three nodes at once, 20 times.
func TestEarlyDataRace(t *testing.T) {
	_, nodes := onRedis(t, 3)
	for round := range 3 {
		session := nodes[round].visitFull()
		visits, texts := make([]visit, 20), make([]string, 20)
		var all sync.WaitGroup
		for i := range visits {
			texts[i] = fmt.Sprintf("round %d, client %d", round, i)
			all.Go(func() {
				var err error
				if visits[i], err = connect(t, nodes[i%3].addr, session, texts[i]); err != nil {
					t.Errorf("%s: %v", texts[i], err)
				}
			})
		}
		all.Wait()
		resumed, early := 0, 0
		for i, v := range visits {
			if v.resumed {
				resumed++
			}
			if v.early {
				early++
			}
			if got := count(texts[i], nodes...); got != 1 {
				t.Errorf("%q arrived %d times", texts[i], got)
			}
		}
		if resumed != 1 || early != 1 {
			t.Errorf("round %d: %d resumed, %d with early data; want 1 and 1", round, resumed, early)
		}
	}
}

// TestStoreDies: without a store nobody can say whether a session was used, so nobody takes early data.
func TestStoreDies(t *testing.T) {
	server, nodes := onRedis(t, 2)
	home, other := nodes[0].visitFull(), nodes[0].visitFull()
	server.Kill()
	expect(t, "where it was made", nodes[0].visit(home, "home"), false, false)
	expect(t, "elsewhere", nodes[1].visit(other, "elsewhere"), false, false)
	nodes[0].expectOutcome(reprise.StoreError, 1)
	nodes[1].expectOutcome(reprise.StoreError, 1)

	// The store comes back with all its data: that none of them was taken before can't be told, so they are of no use.
	server.Restart()
	for _, n := range nodes {
		n.await("notices of Redis", func() bool { return n.binding.Stats().Following })
	}
	expect(t, "after the restart", nodes[1].visit(home, "old"), false, false)
	session := nodes[0].visitFull()
	expect(t, "made after the restart", nodes[1].visit(session, "new"), true, true)
}

// A stalledStore answers no read before its context is done.
type stalledStore struct {
	*promisingStore
	mu      sync.Mutex
	stalled bool
}

func (s *stalledStore) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	s.mu.Lock()
	stalled := s.stalled
	s.mu.Unlock()
	if stalled {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return s.promisingStore.Take(ctx, key)
}

// TestStoreStalls: the handshake goes on after the lookup deadline, in full. The answer of the store is never known, so the session is
// not used any more.
func TestStoreStalls(t *testing.T) {
	store := &stalledStore{promisingStore: goodStore()}
	n := newNode(t, reprise.RandomFleetKeys(), store)
	session := n.visitFull()
	store.mu.Lock()
	store.stalled = true
	store.mu.Unlock()
	expect(t, "stalled", n.visit(session, "stalled"), false, false)
	n.expectOutcome(reprise.StoreTimeout, 1)
}

// TestWeakStore: a store that may bring a record back that was taken, or give it to two, gets no early data. Its sessions resume.
func TestWeakStore(t *testing.T) {
	for _, promise := range []reprise.TakePromise{{}, {Atomic: true}, {Durable: true}} {
		store := &promisingStore{new(memory.Store), promise}
		keys := reprise.RandomFleetKeys()
		nodes := []*node{newNode(t, keys, store), newNode(t, keys, store)}
		session := nodes[0].visitFull()
		for i, n := range []*node{nodes[1], nodes[0], nodes[1]} {
			text := fmt.Sprintf("visit %d", i)
			expect(t, fmt.Sprintf("%+v, %s", promise, text), n.visit(session, text), true, false)
			if got := count(text, nodes...); got != 1 {
				t.Errorf("%q arrived %d times", text, got)
			}
		}
	}
}

// TestPromiseIsWithdrawn: sessions that were made for early data do not bring it where the store has become a weaker one. Each
// is for single use still.
func TestPromiseIsWithdrawn(t *testing.T) {
	good := goodStore()
	keys := reprise.RandomFleetKeys()
	strong, weak := newNode(t, keys, good), newNode(t, keys, &promisingStore{good.Store, reprise.TakePromise{Atomic: true}})
	session := strong.visitFull()
	expect(t, "weak", weak.visit(session, "weak"), true, false)
	expect(t, "weak again", weak.visit(session, "weak again"), false, false)
	expect(t, "strong", strong.visit(session, "strong"), false, false)
}

// A strangeStore is in a life that it has not heard of yet.
type strangeStore struct {
	*promisingStore
	heard, life uint64
}

func (s *strangeStore) Incarnation(reprise.StoreKey) uint64 { return s.heard }

func (s *strangeStore) TakeIncarnated(ctx context.Context, key reprise.StoreKey) ([]byte, uint64, bool, error) {
	record, ok, err := s.Take(ctx, key)
	return record, s.life, ok, err
}

// TestUnknownIncarnation: a node that does not know in which life its store is can't tell whether what is there was taken before;
// nor can one that is behind. Nor does a session resume that was made on such a node.
func TestUnknownIncarnation(t *testing.T) {
	const unheard, before, now = 99, 1, 2
	shared := &promisingStore{new(memory.Store), reprise.TakePromise{Atomic: true}}
	keys := reprise.RandomFleetKeys()
	on := func(heard, life uint64) *node { return newNode(t, keys, &strangeStore{shared, heard, life}) }
	nodes := map[string]*node{"knows": on(now, now), "has heard of none": on(unheard, now), "is behind": on(before, now)}
	good := nodes["knows"]
	expect(t, "both know", on(now, now).visit(good.visitFull(), "both"), true, true)
	for name, n := range nodes {
		if n == good {
			continue
		}
		expect(t, "the node "+name, n.visit(good.visitFull(), name), false, false)
		expect(t, "the session is of a node that "+name, good.visit(n.visitFull(), name), false, false)
		expect(t, "the node itself "+name, n.visit(n.visitFull(), name), false, false)
	}
}

// TestAllow0RTT: quic-go's own switch, at the moment a session is made, and when it is used. A session that was made without is
// not for single use.
func TestAllow0RTT(t *testing.T) {
	off := func(_ *tls.Config, c *quic.Config) { c.Allow0RTT = false }
	keys, store := reprise.RandomFleetKeys(), goodStore()
	with, without := newNode(t, keys, store), newNode(t, keys, store, off)
	expect(t, "used where it is off", without.visit(with.visitFull(), "off"), true, false)
	session := without.visitFull()
	for range 2 {
		expect(t, "made where it is off", with.visit(session, "on"), true, false)
	}
}

// TestTransportParameters: a server that grants less than the session remembers can't take early data that counts on it; the
// session resumes. One that grants more can.
func TestTransportParameters(t *testing.T) {
	grants := func(streams int64) setup {
		return func(_ *tls.Config, c *quic.Config) { c.MaxIncomingStreams = streams }
	}
	keys, store := reprise.RandomFleetKeys(), goodStore()
	less, more := newNode(t, keys, store, grants(10)), newNode(t, keys, store, grants(20))
	expect(t, "less", less.visit(more.visitFull(), "less"), true, false)
	expect(t, "more", more.visit(less.visitFull(), "more"), true, true)
}

// extraOf lets f see and change what the hooks of a configuration are given and return in Extra.
func extraOf(f func(hook string, state *tls.SessionState)) setup {
	return func(config *tls.Config, _ *quic.Config) {
		choose := config.GetConfigForClient
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if err != nil {
				return nil, err
			}
			wrap, unwrap := chosen.WrapSession, chosen.UnwrapSession
			chosen.WrapSession = func(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
				f("wrap", state)
				return wrap(cs, state)
			}
			chosen.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
				state, err := unwrap(identity, cs)
				if state != nil {
					f("unwrap", state)
				}
				return state, err
			}
			return chosen, nil
		}
	}
}

// TestExtraSurvivesTheStore: what quic-go keeps in a session is there on another node, byte for byte.
func TestExtraSurvivesTheStore(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string][][]byte)
	note := extraOf(func(hook string, state *tls.SessionState) {
		mu.Lock()
		defer mu.Unlock()
		if seen[hook] == nil {
			seen[hook] = state.Extra
		}
	})
	keys, store := reprise.RandomFleetKeys(), goodStore()
	a, b := newNode(t, keys, store, note), newNode(t, keys, store, note)
	expect(t, "elsewhere", b.visit(a.visitFull(), "elsewhere"), true, true)
	if len(seen["wrap"]) == 0 || !sameExtra(seen["wrap"], seen["unwrap"]) {
		t.Errorf("Extra was %q and came back as %q", seen["wrap"], seen["unwrap"])
	}
}

// TestTicketRevision: what another version of quic-go has kept in a session it does not read. The session resumes without early
// data.
func TestTicketRevision(t *testing.T) {
	older := extraOf(func(hook string, state *tls.SessionState) {
		if hook == "wrap" {
			state.Extra[0][len("quic-go1")]-- // the revision
		}
	})
	keys, store := reprise.RandomFleetKeys(), goodStore()
	old, current := newNode(t, keys, store, older), newNode(t, keys, store)
	expect(t, "older", current.visit(old.visitFull(), "older"), true, false)
}

// TestExpiredSession brings no early data.
func TestExpiredSession(t *testing.T) {
	n := newNode(t, reprise.RandomFleetKeys(), goodStore())
	n.cache.SetTimeout(time.Millisecond)
	session := n.visitFull()
	time.Sleep(5 * time.Millisecond)
	expect(t, "expired", n.visit(session, "expired"), false, false)
}
