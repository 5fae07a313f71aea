package redisstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
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

// A site is two nodes that serve TLS, and clients that come back to one and the other all the time. A control, which is a node without
// a store, tells what the machine is up to meanwhile.
//
// How long handshakes take is judged by the control: tests run beside each other, on machines that do other things too, and a
// handshake that has to wait for the processor is not one that waits for the store. So a bound is what full handshakes took before or
// those of the control take at the same time, whichever is more, and what may come on top.
type site struct {
	t         *testing.T
	nodes     []*node
	addresses []string
	control   string        // its address
	lookup    time.Duration // the lookup deadline of the nodes
	roots     *x509.CertPool

	stop    chan struct{}
	clients sync.WaitGroup

	mu     sync.Mutex
	phase  *phase
	before time.Duration // p99 of full handshakes before anything happened
}

// A phase is what clients have seen in a part of a test.
type phase struct {
	name    string
	full    []time.Duration // how long full handshakes took
	resumed int
	failed  []error
	control time.Duration // the longest that a handshake of the control took
}

const (
	// noise is what a handshake may take longer than that of the control: it has the work of the store beside it.
	noise = 100 * time.Millisecond
	// recovery is how long it may take until sessions are shared again.
	recovery = 2 * time.Second
)

// newSite starts the nodes, with the deadlines that servers have, and the clients, and lets them be for a while.
func newSite(t *testing.T, url string) *site {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	s := &site{t: t, roots: authority.Pool(), stop: make(chan struct{}), phase: &phase{name: "before"}}
	cache, err := reprise.New(reprise.Options{Logger: slog.New(slog.DiscardHandler), UnconfirmedPerSource: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.control = (&node{Cache: cache, t: t}).serve(certificate)
	s.lookup = s.fairLookup()
	keys := reprise.RandomFleetKeys()
	for range 2 {
		n := newNodeWith(t, url, reprise.Options{Keys: keys, LookupTimeout: s.lookup, UnconfirmedPerSource: -1})
		s.nodes = append(s.nodes, n)
		s.addresses = append(s.addresses, n.serve(certificate))
	}
	for _, n := range s.nodes {
		n.follows(true)
	}
	for i := range 3 {
		s.clients.Go(func() { s.come(i) })
	}
	s.clients.Go(s.comeToControl)
	t.Cleanup(s.end)
	time.Sleep(500 * time.Millisecond)
	before := s.enter("ready")
	if before.resumed == 0 {
		t.Error("no session resumed before anything happened")
	}
	s.before = before.p99()
	return s
}

// fairLookup returns the default lookup deadline, or a longer one on a machine where a handshake of the control alone takes half of
// that: there, a store that works would fail too.
func (s *site) fairLookup() time.Duration {
	s.t.Helper()
	fair := reprise.DefaultLookupTimeout
	for range 20 {
		_, took, err := s.visit(s.control, s.newClient())
		if err != nil {
			s.t.Fatal(err)
		}
		fair = max(fair, 2*took)
	}
	s.t.Logf("lookup deadline %v", fair)
	return fair
}

// serve serves TLS.
func (n *node) serve(certificate tls.Certificate) (address string) {
	n.t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if err := stdtls.Attach(config, n.Cache); err != nil {
		n.t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = conn.Write([]byte("hello"))
			}()
		}
	}()
	return l.Addr().String()
}

// come is a client that comes to the nodes by turns, with the session that it got last.
func (s *site) come(client int) {
	config := s.newClient()
	if client == 0 {
		config.MaxVersion = tls.VersionTLS12
	}
	for visit := client; ; visit++ {
		select {
		case <-s.stop:
			return
		case <-time.After(40 * time.Millisecond):
		}
		resumed, took, err := s.visit(s.addresses[visit%2], config)
		s.saw(func(p *phase) {
			switch {
			case err != nil:
				p.failed = append(p.failed, err)
			case resumed:
				p.resumed++
			default:
				p.full = append(p.full, took)
			}
		})
		if visit%5 == 0 { // a new client
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
	}
}

// comeToControl is clients of the control, each of them new.
func (s *site) comeToControl() {
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		if _, took, err := s.visit(s.control, s.newClient()); err == nil {
			s.saw(func(p *phase) { p.control = max(p.control, took) })
		}
	}
}

func (s *site) newClient() *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: "a.example", MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
}

func (s *site) visit(address string, config *tls.Config) (resumed bool, took time.Duration, err error) {
	begun := time.Now()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, config)
	if err != nil {
		return false, 0, err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
		return false, 0, err
	}
	return conn.ConnectionState().DidResume, time.Since(begun), nil
}

func (s *site) saw(note func(*phase)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note(s.phase)
}

// enter begins another phase, and judges the one before: no handshake has failed, and of 100 full ones 99 took no longer than a store
// may make them.
func (s *site) enter(name string) *phase {
	s.t.Helper()
	s.mu.Lock()
	p := s.phase
	s.phase = &phase{name: name}
	s.mu.Unlock()
	for _, err := range p.failed {
		s.t.Errorf("%s: a handshake failed: %v", p.name, err)
	}
	s.t.Logf("%-10s %3d full handshakes, p99 %v, control %v at most; %3d resumptions", p.name, len(p.full), p.p99(), p.control, p.resumed)
	if most := max(s.before, p.control) + s.lookup + noise; s.before > 0 && p.p99() > most {
		s.t.Errorf("%s: p99 of full handshakes is %v; before it was %v, and the slowest of the control took %v", p.name, p.p99(), s.before, p.control)
	}
	return p
}

// end ends the clients.
func (s *site) end() {
	close(s.stop)
	s.clients.Wait()
	s.enter("end")
}

// p99 returns how long the full handshakes took of which 99 of 100 were faster.
func (p *phase) p99() time.Duration {
	if len(p.full) == 0 {
		return 0
	}
	slices.Sort(p.full)
	return p.full[len(p.full)*99/100]
}

// recovers is recoversWith a session that is made anew for each try.
func (s *site) recovers() {
	s.t.Helper()
	a, b := s.nodes[0], s.nodes[1]
	s.recoversWith(func() reprise.Reason {
		session := a.fullUnstored()
		ctx, cancel := contextFor(200 * time.Millisecond)
		defer cancel()
		_ = a.binding.Flush(ctx) // if it is not written, it will not resume
		return b.resume(session)
	})
}

// recoversWith waits until a session that one node has made resumes on the other, and fails if that takes too long: more than 2 seconds, or
// twice that on a machine where a handshake of the control alone takes half the lookup deadline. There, lookups fail for that, and the
// breaker needs another probe.
func (s *site) recoversWith(resume func() reprise.Reason) {
	s.t.Helper()
	s.enter("recovering")
	begun := time.Now()
	reason, tries := resume(), 1
	for ; reason != reprise.Resumed && time.Since(begun) < 10*recovery; tries++ {
		time.Sleep(5 * time.Millisecond)
		reason = resume()
	}
	took, within := time.Since(begun), recovery
	if s.enter("after").control > reprise.DefaultLookupTimeout/2 {
		within = 2 * recovery
	}
	if reason != reprise.Resumed || took > within {
		s.t.Fatalf("sessions are not shared again within %v: %v after %v", within, reason, took)
	}
	s.t.Logf("sessions are shared again after %v, %d tries", took.Round(time.Millisecond), tries)
	for _, n := range s.nodes {
		n.follows(true)
	}
	time.Sleep(300 * time.Millisecond)
}

// stats returns the sums of what both nodes count.
func (s *site) stats() string {
	return fmt.Sprintf("%+v", s.total())
}

func (s *site) total() (sum reprise.StoreStats) {
	for _, n := range s.nodes {
		stats := n.binding.Stats()
		sum.Errors += stats.Errors
		sum.Timeouts += stats.Timeouts
		sum.PutsFailed += stats.PutsFailed
		sum.Damaged += stats.Damaged
		sum.Stale += stats.Stale
		sum.NoticesLost += stats.NoticesLost
		sum.BreakerOpened += stats.BreakerOpened
	}
	return sum
}
