package reprise_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A faultyStore is a memory store that counts its calls, and delays or fails them before or after it has carried them
// out.
type faultyStore struct {
	memory.Store

	mu            sync.Mutex
	calls         []string // methods in the order in which calls of them were carried out, or failed
	begun         []string // in the order in which they began
	lifetimes     []time.Duration
	before, after map[string]fault
}

// A fault delays a call of a store, and fails it if it returns an error.
type fault func(ctx context.Context) error

var errFault = errors.New("the store is broken")

func (s *faultyStore) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	return s.call(ctx, "put", func() (err error) {
		s.lifetimes = append(s.lifetimes, lifetime)
		return s.Store.Put(context.WithoutCancel(ctx), key, record, lifetime)
	})
}

func (s *faultyStore) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	err = s.call(ctx, "get", func() (err error) {
		record, ok, err = s.Store.Get(context.WithoutCancel(ctx), key)
		return err
	})
	return record, ok, err
}

func (s *faultyStore) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	err = s.call(ctx, "take", func() (err error) {
		record, ok, err = s.Store.Take(context.WithoutCancel(ctx), key)
		return err
	})
	return record, ok, err
}

func (s *faultyStore) Delete(ctx context.Context, key reprise.StoreKey) error {
	return s.call(ctx, "delete", func() error { return s.Store.Delete(context.WithoutCancel(ctx), key) })
}

func (s *faultyStore) call(ctx context.Context, method string, carryOut func() error) error {
	s.mu.Lock()
	s.begun = append(s.begun, method)
	before, after := s.before[method], s.after[method]
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.calls = append(s.calls, method)
	err := carryOut()
	s.mu.Unlock()
	if after != nil && err == nil {
		err = after(ctx)
	}
	return err
}

// beforeCall sets what happens to calls of methods before they are carried out, afterCall what happens after. nil is nothing.
func (s *faultyStore) beforeCall(f fault, methods ...string) { s.set(&s.before, f, methods) }

func (s *faultyStore) afterCall(f fault, methods ...string) { s.set(&s.after, f, methods) }

func (s *faultyStore) set(faults *map[string]fault, f fault, methods []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *faults == nil {
		*faults = make(map[string]fault)
	}
	for _, m := range methods {
		(*faults)[m] = f
	}
}

var allMethods = []string{"get", "take", "put", "delete", "batch"}

// seen returns the methods that were carried out, in order.
func (s *faultyStore) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// started returns the methods that were called, in order.
func (s *faultyStore) started() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

// lifetime returns the lifetime that came with the put of a number, counting from 0.
func (s *faultyStore) lifetime(put int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lifetimes[put]
}

// fail is a fault that fails at once.
func fail(context.Context) error { return errFault }

// hold returns a fault that delays calls until release is called, or their context is done.
func hold() (f fault, release func()) {
	held := make(chan struct{})
	f = func(ctx context.Context) error {
		select {
		case <-held:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f, sync.OnceFunc(func() { close(held) })
}

// hang returns a fault that delays calls until release is called, whatever their context says.
func hang() (f fault, release func()) {
	held := make(chan struct{})
	return func(context.Context) error { <-held; return nil }, sync.OnceFunc(func() { close(held) })
}

// slow returns a fault that delays calls by a time.
func slow(d time.Duration) fault {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A node is a cache with a store bound to it. Its methods are the calls of its callbacks.
type node struct {
	*reprise.Cache
	*reprise.StoreBinding
	t *testing.T
}

// newNode binds a store to a new cache. Where the keys are nil they are random.
func newNode(t *testing.T, s reprise.Store, keys *reprise.FleetKeys, o reprise.StoreOptions) *node {
	t.Helper()
	if keys == nil {
		keys = reprise.RandomFleetKeys()
	}
	return newLoggingNode(t, s, keys, o, slog.New(slog.DiscardHandler))
}

func newLoggingNode(t *testing.T, s reprise.Store, keys *reprise.FleetKeys, o reprise.StoreOptions, logger *slog.Logger) *node {
	t.Helper()
	c, err := reprise.New(reprise.Options{Keys: keys, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	b, err := reprise.BindStore(c, s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.Close(ctx)
		c.Close()
	})
	return &node{c, b, t}
}

// make makes a session without telling anyone.
func (n *node) make(change ...func(*reprise.SessionParams)) *reprise.Session {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), anyInfo)
	if err != nil {
		n.t.Fatal(err)
	}
	p := anyParams()
	for _, f := range change {
		f(&p)
	}
	s, err := conn.NewSession(p, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// rotate sets other fleet keys.
func (n *node) rotate(keys *reprise.FleetKeys) {
	n.t.Helper()
	if err := n.SetKeys(keys); err != nil {
		n.t.Fatal(err)
	}
}

func singleUse(p *reprise.SessionParams) { p.SingleUse = true }

func (n *node) announce(s *reprise.Session) { n.NewCallback()(n.Cache, s) }

func (n *node) remove(s *reprise.Session, why reprise.Removal) {
	n.RemoveCallback()(n.Cache, s, why, true)
}

// get calls the get callback with the deadline of a handshake.
func (n *node) get(id reprise.SessionID) (*reprise.Session, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), reprise.DefaultLookupTimeout)
	defer cancel()
	return n.GetCallback()(ctx, id)
}

// take calls the take callback with the deadline of a handshake.
func (n *node) take(s *reprise.Session) (bool, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), reprise.DefaultLookupTimeout)
	defer cancel()
	return n.TakeCallback()(ctx, s)
}

// stored announces a session and waits until the store has it.
func (n *node) stored(change ...func(*reprise.SessionParams)) *reprise.Session {
	n.t.Helper()
	s := n.make(change...)
	n.announce(s)
	n.flush()
	return s
}

func (n *node) flush() {
	n.t.Helper()
	if err := n.StoreBinding.Flush(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) stats() reprise.StoreStats { return n.StoreBinding.Stats() }

// has fails unless a get finds the session.
func (n *node) has(s *reprise.Session) {
	n.t.Helper()
	got, err := n.get(s.ID())
	if err != nil || got == nil || string(got.Secret()) != string(s.Secret()) {
		n.t.Errorf("get: %v, %v; want the session", got, err)
	}
}

// hasNot fails unless a get says that there is no such session.
func (n *node) hasNot(s *reprise.Session) {
	n.t.Helper()
	n.hasNoID(s.ID())
}

func (n *node) hasNoID(id reprise.SessionID) {
	n.t.Helper()
	if got, err := n.get(id); got != nil || err != nil {
		n.t.Errorf("get: %v, %v; want none", got, err)
	}
}

// takes fails unless a take has the outcome given.
func (n *node) takes(s *reprise.Session, want bool) {
	n.t.Helper()
	if taken, err := n.take(s); taken != want || err != nil {
		n.t.Errorf("take: %v, %v; want %v", taken, err, want)
	}
}

// saw fails unless the store has carried out these calls and no others, in this order.
func (s *faultyStore) saw(t *testing.T, want ...string) {
	t.Helper()
	if got := s.seen(); !slices.Equal(got, want) {
		t.Errorf("the store has carried out %q, want %q", got, want)
	}
}

// busy makes a node's only writers busy, of puts and of deletes, until release is called: puts go on first.
func (n *node) busy(s *faultyStore) (release func()) {
	n.t.Helper()
	put, releasePut := hang()
	remove, releaseDelete := hang()
	s.beforeCall(put, "put")
	s.beforeCall(remove, "delete")
	n.announce(n.make())
	n.remove(n.make(), reprise.RemovedExplicitly)
	time.Sleep(11 * time.Millisecond) // in which puts make a batch
	s.beforeCall(nil, "put", "delete")
	return func() {
		releasePut()
		synctest.Wait()
		releaseDelete()
	}
}
