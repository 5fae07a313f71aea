package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
	"github.com/reprise-tls/reprise/stdtls"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// patience is how long anything may take that is waited for.
const patience = 20 * time.Second

const (
	serverName = "a.example"
	alpn       = "reprise-test"
)

// A node is one server of a fleet. What clients send it, it sends back.
type node struct {
	t       *testing.T
	cache   *reprise.Cache
	binding *reprise.StoreBinding
	addr    string

	mu       sync.Mutex
	received []string
}

// newCache returns a cache, whose clock is ahead of the real time, and what binds it to a store.
func newCache(t *testing.T, keys *reprise.FleetKeys, store reprise.Store, ahead time.Duration) (*reprise.Cache, *reprise.StoreBinding) {
	t.Helper()
	cache, err := reprise.New(reprise.Options{
		Keys:          keys,
		Now:           func() time.Time { return time.Now().Add(ahead) },
		LookupTimeout: 2 * time.Second, // a busy machine is no slow store
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = binding.Close(ctx) // the store may be dead
		cache.Close()
	})
	return cache, binding
}

// serverConfig returns a configuration that is attached to a cache.
func serverConfig(t *testing.T, cache *reprise.Cache, protocol string) *tls.Config {
	t.Helper()
	_, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{protocol}}
	if err := stdtls.Attach(config, cache); err != nil {
		t.Fatal(err)
	}
	return config
}

// A setup may change the configurations of a node before it serves.
type setup func(*tls.Config, *quic.Config)

func newNode(t *testing.T, keys *reprise.FleetKeys, store reprise.Store, change ...setup) *node {
	t.Helper()
	return newNodeAt(t, 0, keys, store, change...)
}

// newNodeAt returns a node whose clock is ahead of the real time.
func newNodeAt(t *testing.T, ahead time.Duration, keys *reprise.FleetKeys, store reprise.Store, change ...setup) *node {
	t.Helper()
	n := &node{t: t}
	n.cache, n.binding = newCache(t, keys, store, ahead)
	config, transport := serverConfig(t, n.cache, alpn), &quic.Config{Allow0RTT: true}
	for _, f := range change {
		f(config, transport)
	}
	listener, err := quic.ListenAddrEarly("127.0.0.1:0", config, transport)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			connections.Go(func() { n.answer(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		connections.Wait()
	})
	return n
}

func (n *node) answer(ctx context.Context, conn *quic.Conn) {
	defer func() { _ = conn.CloseWithError(0, "") }()
	for {
		stream, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		text, err := io.ReadAll(stream)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.received = append(n.received, string(text))
		n.mu.Unlock()
		_, _ = stream.Write(text)
		stream.Close()
	}
}

// count returns how often the nodes have received a text.
func count(text string, nodes ...*node) (times int) {
	for _, n := range nodes {
		n.mu.Lock()
		for _, r := range n.received {
			if r == text {
				times++
			}
		}
		n.mu.Unlock()
	}
	return times
}

// flush waits until the store has all sessions of a node.
func (n *node) flush() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	if err := n.binding.Flush(ctx); err != nil {
		n.t.Fatal(err)
	}
}

// A visit is how a connection of a client went.
type visit struct {
	resumed, early bool
	session        *tls.ClientSessionState // that it got
}

// visit connects to a node, offering a session if it is not nil, and sends a text at once: as early data, if the session allows.
func (n *node) visit(session *tls.ClientSessionState, text string) visit {
	n.t.Helper()
	v, err := connect(n.t, n.addr, session, text)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

// visitFull is a first visit.
func (n *node) visitFull() *tls.ClientSessionState {
	n.t.Helper()
	v := n.visit(nil, "first")
	if v.resumed || v.early {
		n.t.Fatalf("the first connection: %+v", v)
	}
	n.flush()
	return v.session
}

func connect(t *testing.T, addr string, session *tls.ClientSessionState, text string) (v visit, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sessions := newOneSession(session)
	conn, err := quic.DialAddrEarly(ctx, addr, clientConfig(t, alpn, sessions), &quic.Config{})
	if err != nil {
		return v, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	err = echo(ctx, conn, text)
	if errors.Is(err, quic.Err0RTTRejected) {
		next, nextErr := conn.NextConnection(ctx)
		if nextErr != nil {
			return v, nextErr
		}
		conn = next
		err = echo(ctx, conn, text)
	}
	if err != nil {
		return v, err
	}
	if v.session, err = sessions.wait(ctx); err != nil {
		return v, err
	}
	state := conn.ConnectionState()
	v.resumed, v.early = state.TLS.DidResume, state.Used0RTT
	return v, nil
}

func clientConfig(t *testing.T, protocol string, sessions tls.ClientSessionCache) *tls.Config {
	ca, _ := certtest.Shared(t)
	return &tls.Config{RootCAs: ca.Pool(), ServerName: serverName, NextProtos: []string{protocol}, ClientSessionCache: sessions}
}

// echo sends a text on a new stream and waits for it to come back.
func echo(ctx context.Context, conn *quic.Conn, text string) error {
	lookAway(conn)
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Write([]byte(text)); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	got, err := io.ReadAll(stream)
	if err == nil && string(got) != text {
		err = errors.New("the server has answered something else")
	}
	return err
}

// lookAway waits for the handshake under the race detector. In quic-go v0.65.0, streams that a client opens before race with the
// server's transport parameters. What the server does with the session is the same.
func lookAway(conn *quic.Conn) {
	if raceEnabled {
		<-conn.HandshakeComplete()
	}
}

// A oneSession is a session cache of a client that offers the same session again and again, and keeps none of those it
// gets.
type oneSession struct {
	offered *tls.ClientSessionState
	got     chan *tls.ClientSessionState
}

func newOneSession(offered *tls.ClientSessionState) *oneSession {
	return &oneSession{offered, make(chan *tls.ClientSessionState, 1)}
}

// Get returns a copy: quic-go changes what it gets.
func (s *oneSession) Get(string) (session *tls.ClientSessionState, ok bool) {
	if s.offered == nil {
		return nil, false
	}
	ticket, state, err := s.offered.ResumptionState()
	if err != nil {
		return nil, false
	}
	encoded, err := state.Bytes()
	if err != nil {
		return nil, false
	}
	if state, err = tls.ParseSessionState(encoded); err != nil {
		return nil, false
	}
	session, err = tls.NewResumptionState(ticket, state)
	return session, err == nil
}

func (s *oneSession) Put(_ string, session *tls.ClientSessionState) {
	if session == nil {
		return
	}
	select {
	case s.got <- session:
	default:
	}
}

// wait waits for a session.
func (s *oneSession) wait(ctx context.Context) (*tls.ClientSessionState, error) {
	select {
	case session := <-s.got:
		return session, nil
	case <-ctx.Done():
		return nil, errors.New("the client got no session")
	}
}

// expect fails unless a visit was resumed and had early data as told, and its text arrived once among all nodes.
func expect(t *testing.T, what string, v visit, resumed, early bool) {
	t.Helper()
	if v.resumed != resumed || v.early != early {
		t.Errorf("%s: resumed %v, early data %v; want %v, %v", what, v.resumed, v.early, resumed, early)
	}
}

// expectOutcome fails unless a node has counted a handshake that ended for a reason.
func (n *node) expectOutcome(reason reprise.Reason, want uint64) {
	n.t.Helper()
	if outcomes := n.cache.Stats().Outcomes; outcomes[reason] != want {
		n.t.Errorf("outcomes %v, want %d of %v", outcomes, want, reason)
	}
}

// expectGone fails unless a node has declined as many sessions because they were used: it has asked the store for one that it
// had itself, or has found none.
func (n *node) expectGone(want uint64) {
	n.t.Helper()
	outcomes := n.cache.Stats().Outcomes
	if got := outcomes[reprise.Used] + outcomes[reprise.Unknown]; got != want {
		n.t.Errorf("outcomes %v, want %d of used or unknown", outcomes, want)
	}
}

// onRedis returns nodes that share a redis-server, each with connections of its own.
func onRedis(t *testing.T, size int) (*redistest.Server, []*node) {
	t.Helper()
	server := redistest.Start(t)
	keys := reprise.RandomFleetKeys()
	var nodes []*node
	for range size {
		nodes = append(nodes, newNode(t, keys, openRedis(t, server)))
	}
	for _, n := range nodes {
		n.await("notices of Redis", func() bool { return n.binding.Stats().Following })
	}
	return server, nodes
}

func openRedis(t *testing.T, server *redistest.Server) *redisstore.Store {
	t.Helper()
	store, err := redisstore.Open(server.URL(), redisstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// await waits until done returns true.
func (n *node) await(what string, done func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// sameExtra reports whether two lists of Extra are the same.
func sameExtra(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, func(a, b []byte) bool { return string(a) == string(b) })
}
