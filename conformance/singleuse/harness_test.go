package singleuse_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
	"github.com/reprise-tls/reprise/stdtls"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// patience is how long anything may take that is waited for.
const patience = 30 * time.Second

// A node is a server of its own: it shares nothing with the others but Redis and the fleet key.
type node struct {
	t       *testing.T
	cache   *reprise.Cache
	binding *reprise.StoreBinding
	addr    string
}

// A fleet is three nodes on one Redis, all of whose sessions are for single use.
type fleet struct {
	t     *testing.T
	redis *redistest.Server
	nodes [3]*node
}

func startFleet(t *testing.T, options reprise.Options) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: redistest.Start(t)}
	options.Keys = reprise.RandomFleetKeys()
	options.SingleUse = true
	options.UnconfirmedPerSource = -1
	options.Logger = slog.New(slog.DiscardHandler)
	for i := range f.nodes {
		f.nodes[i] = f.start(options)
	}
	f.follow()
	return f
}

func (f *fleet) start(options reprise.Options) *node {
	t := f.t
	t.Helper()
	cache, err := reprise.New(options)
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.Open(f.redis.URL(), redisstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, CurvePreferences: []tls.CurveID{tls.X25519}}
	if err := stdtls.Attach(config, cache); err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { greet(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = binding.Close(ctx) // Redis may be dead
		cache.Close()
		store.Close()
	})
	return &node{t, cache, binding, listener.Addr().String()}
}

// greet sends a byte and waits for the client to go.
func greet(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("x")); err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// follow waits until all nodes hear of what happens in Redis.
func (f *fleet) follow() {
	f.t.Helper()
	for _, n := range f.nodes {
		for end := time.Now().Add(patience); !n.binding.Stats().Following; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				f.t.Fatal("waited in vain for notices of Redis")
			}
		}
	}
}

// flush waits until Redis has all sessions.
func (f *fleet) flush() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	for _, n := range f.nodes {
		if err := n.binding.Flush(ctx); err != nil {
			f.t.Fatal(err)
		}
	}
}

// outcomes returns the sum of what the nodes have counted.
func (f *fleet) outcomes() map[reprise.Reason]uint64 {
	sum := make(map[reprise.Reason]uint64)
	for _, n := range f.nodes {
		for reason, count := range n.cache.Stats().Outcomes {
			if count > 0 {
				sum[reason] += count
			}
		}
	}
	return sum
}

// idOf returns the ID of a session: it is its ticket.
func (n *node) idOf(session *tls.ClientSessionState) reprise.SessionID {
	ticket, _, err := session.ResumptionState()
	if err != nil {
		n.t.Error(err)
	}
	id, err := reprise.MakeSessionID(ticket)
	if err != nil {
		n.t.Error(err)
	}
	return id
}

// visit connects to a node, offering a session if it is not nil. It returns the session that the client got, if it got one.
func (n *node) visit(version uint16, offered *tls.ClientSessionState) (resumed bool, got *tls.ClientSessionState, err error) {
	ca, _ := certtest.Shared(n.t)
	sessions := &replaying{offered: offered}
	config := &tls.Config{
		RootCAs:            ca.Pool(),
		ServerName:         "a.example",
		MinVersion:         version,
		MaxVersion:         version,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		ClientSessionCache: sessions,
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", n.addr, config)
	if err != nil {
		return false, nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return false, nil, err
	}
	return conn.ConnectionState().DidResume, sessions.got, nil
}

// full returns the session of a first visit.
func (n *node) full(version uint16) (*tls.ClientSessionState, error) {
	resumed, session, err := n.visit(version, nil)
	if err == nil && (resumed || session == nil) {
		err = errors.New("the first visit was resumed, or got no session")
	}
	return session, err
}

// replaying is the session cache of a client that offers one session, whatever it gets.
type replaying struct{ offered, got *tls.ClientSessionState }

func (r *replaying) Get(string) (*tls.ClientSessionState, bool) { return r.offered, r.offered != nil }

func (r *replaying) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		r.got = session
	}
}
