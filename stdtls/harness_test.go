package stdtls_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/stdtls"
)

// versions are the protocol versions that sessions are made in.
var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func forEachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) { f(t, version) })
	}
}

func serverConfig(t testing.TB) *tls.Config {
	t.Helper()
	_, certificate := certtest.Shared(t)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}
}

// newCache returns a cache that logs nowhere.
func newCache(t testing.TB, o reprise.Options) *reprise.Cache {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cache, err := reprise.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

func attach(t testing.TB, config *tls.Config, cache *reprise.Cache) {
	t.Helper()
	if err := stdtls.Attach(config, cache); err != nil {
		t.Fatal(err)
	}
}

// serve answers each connection to a listener with config and returns its address.
func serve(t testing.TB, config *tls.Config) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(inner, config)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { answer(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		connections.Wait()
	})
	return ln.Addr().String()
}

// answer reads a byte, writes one, and waits for the client to close.
func answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return
	}
	if _, err := conn.Write(b[:]); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)
}

// A client dials with one session cache.
type client struct {
	t        testing.TB
	config   *tls.Config
	sessions *sessionCache
}

func newClient(t testing.TB, version uint16) *client {
	t.Helper()
	ca, _ := certtest.Shared(t)
	c := &client{t: t, sessions: new(sessionCache)}
	c.config = &tls.Config{
		RootCAs:            ca.Pool(),
		ServerName:         "a.example",
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: c.sessions,
	}
	return c
}

// dial makes a connection, exchanges a byte, so that the tickets are read, and closes.
func (c *client) dial(addr string) tls.ConnectionState {
	c.t.Helper()
	state, err := c.try(addr)
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

func (c *client) try(addr string) (state tls.ConnectionState, err error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, c.config)
	if err != nil {
		return state, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("x")); err != nil {
		return state, err
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return state, err
	}
	return conn.ConnectionState(), nil
}

// expect dials and checks whether the session was resumed.
func (c *client) expect(addr string, resumed bool) {
	c.t.Helper()
	if got := c.dial(addr).DidResume; got != resumed {
		c.t.Fatalf("DidResume = %v, want %v", got, resumed)
	}
}

// A sessionCache keeps the last session, under whatever name, and all tickets that it got.
type sessionCache struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
	tickets [][]byte
}

func (c *sessionCache) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session, c.session != nil
}

func (c *sessionCache) Put(_ string, session *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
	if ticket, _, err := session.ResumptionState(); err == nil && session != nil {
		c.tickets = append(c.tickets, slices.Clone(ticket))
	}
}

// last returns the last ticket; nil if there is none.
func (c *sessionCache) last() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tickets) == 0 {
		return nil
	}
	return c.tickets[len(c.tickets)-1]
}

// outcome returns how many handshakes ended with reason.
func outcome(cache *reprise.Cache, reason reprise.Reason) uint64 {
	return cache.Stats().Outcomes[reason]
}

func expectOutcome(t *testing.T, cache *reprise.Cache, reason reprise.Reason, want uint64) {
	t.Helper()
	if got := outcome(cache, reason); got != want {
		t.Errorf("%d handshakes ended with %q, want %d; all: %v", got, reason, want, cache.Stats().Outcomes)
	}
}

// An externalCache is what the callbacks of a cache are bound to in tests. It counts their calls.
type externalCache struct {
	mu          sync.Mutex
	sessions    map[string]*reprise.Session
	puts, gets  int
	takes       int
	removals    []reprise.Removal
	beforeGet   func(ctx context.Context) error // may be nil
	getDeadline []time.Time
}

func newExternalCache(cache *reprise.Cache) *externalCache {
	e := &externalCache{sessions: make(map[string]*reprise.Session)}
	cache.SetNewCallback(e.put)
	cache.SetGetCallback(e.get)
	cache.SetRemoveCallback(e.remove)
	return e
}

func (e *externalCache) put(_ *reprise.Cache, s *reprise.Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.puts++
	e.sessions[string(s.ID().Bytes())] = s
	return true
}

func (e *externalCache) get(ctx context.Context, id reprise.SessionID) (*reprise.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gets++
	deadline, _ := ctx.Deadline()
	e.getDeadline = append(e.getDeadline, deadline)
	if e.beforeGet != nil {
		if err := e.beforeGet(ctx); err != nil {
			return nil, err
		}
	}
	return e.sessions[string(id.Bytes())], nil
}

func (e *externalCache) take(_ context.Context, s *reprise.Session) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.takes++
	key := string(s.ID().Bytes())
	_, ok := e.sessions[key]
	delete(e.sessions, key)
	return ok, nil
}

func (e *externalCache) remove(_ *reprise.Cache, s *reprise.Session, why reprise.Removal, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removals = append(e.removals, why)
	if why.Final() {
		delete(e.sessions, string(s.ID().Bytes()))
	}
}

func (e *externalCache) counts() (puts, gets, takes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.puts, e.gets, e.takes
}

// A clock stands still until it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock(now time.Time) *clock { return &clock{now: now} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}
