package redisstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/stdtls"
)

// A site is two nodes that serve TLS, and clients that come back to one and the other all the time.
type site struct {
	t         *testing.T
	nodes     []*node
	addresses []string
	roots     *x509.CertPool

	stop    chan struct{}
	clients sync.WaitGroup

	late atomic.Int64 // by how much a sleep was too long at worst: how busy the machine is with other things

	mu    sync.Mutex
	phase string
	seen  map[string]*phase
}

// A phase is what clients have seen in a part of a test.
type phase struct {
	full    []time.Duration // how long full handshakes took
	resumed int
	failed  []error
}

// newSite starts the nodes, with the deadlines that servers have, and the clients, and lets them be for a while.
func newSite(t *testing.T, url string) *site {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	s := &site{t: t, roots: authority.Pool(), stop: make(chan struct{}), seen: make(map[string]*phase)}
	keys := reprise.RandomFleetKeys()
	for range 2 {
		n := newNodeWith(t, url, reprise.Options{Keys: keys, UnconfirmedPerSource: -1})
		s.nodes = append(s.nodes, n)
		s.addresses = append(s.addresses, n.serve(certificate))
	}
	for _, n := range s.nodes {
		n.follows(true)
	}
	s.enter("before")
	for i := range 3 {
		s.clients.Go(func() { s.come(i) })
	}
	s.clients.Go(s.watchMachine)
	t.Cleanup(s.end)
	time.Sleep(500 * time.Millisecond)
	return s
}

// watchMachine sleeps, to see whether it is woken in time.
func (s *site) watchMachine() {
	for {
		begun := time.Now()
		select {
		case <-s.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		s.late.Store(max(s.late.Load(), int64(time.Since(begun)-5*time.Millisecond)))
	}
}

// tooLate reports that something took too long: as a failure, if the machine was not too busy to tell.
func (s *site) tooLate(format string, args ...any) {
	s.t.Helper()
	if late := time.Duration(s.late.Load()); late > starved {
		s.t.Logf("the machine was too busy to tell, by up to %v: %s", late, fmt.Sprintf(format, args...))
		return
	}
	s.t.Errorf(format, args...)
}

// starved is how much later than due a sleep may end on a machine that can keep deadlines of 50 ms.
const starved = 25 * time.Millisecond

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
	config := &tls.Config{RootCAs: s.roots, ServerName: "a.example", MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if client == 0 {
		config.MaxVersion = tls.VersionTLS12
	}
	for visit := client; ; visit++ {
		select {
		case <-s.stop:
			return
		case <-time.After(40 * time.Millisecond):
		}
		begun := time.Now()
		resumed, err := s.visit(s.addresses[visit%2], config)
		took := time.Since(begun)
		s.mu.Lock()
		p := s.seen[s.phase]
		switch {
		case err != nil:
			p.failed = append(p.failed, err)
		case resumed:
			p.resumed++
		default:
			p.full = append(p.full, took)
		}
		s.mu.Unlock()
		if visit%5 == 0 { // a new client
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
	}
}

func (s *site) visit(address string, config *tls.Config) (resumed bool, err error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, config)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
		return false, err
	}
	return conn.ConnectionState().DidResume, nil
}

// enter begins another phase.
func (s *site) enter(phaseName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phaseName
	s.seen[phaseName] = &phase{}
}

// end ends the clients, and fails if a handshake has failed or took longer than a store may make it.
func (s *site) end() {
	close(s.stop)
	s.clients.Wait()
	before := s.seen["before"]
	for name, p := range s.seen {
		for _, err := range p.failed {
			s.t.Errorf("%s: a handshake failed: %v", name, err)
		}
		s.t.Logf("%-6s %3d full handshakes, p90 %v, p99 %v; %3d resumptions", name, len(p.full), p.percentile(90), p.percentile(99), p.resumed)
		if len(p.full) >= 50 && p.percentile(90) > before.percentile(90)+reprise.DefaultLookupTimeout+busy {
			s.tooLate("%s: full handshakes took up to %v, before it %v", name, p.percentile(90), before.percentile(90))
		}
	}
	if before.resumed == 0 {
		s.t.Error("no session resumed before anything happened")
	}
}

// busy is what else a handshake may take while other tests keep the machine busy.
const busy = 50 * time.Millisecond

// percentile returns how long the full handshakes took of which n of 100 were faster.
func (p *phase) percentile(n int) time.Duration {
	if len(p.full) == 0 {
		return 0
	}
	slices.Sort(p.full)
	return p.full[len(p.full)*n/100].Round(100 * time.Microsecond)
}

// recovers waits until a session that one node makes resumes on the other, and fails if that takes more than 2 seconds.
func (s *site) recovers() {
	s.t.Helper()
	begun := time.Now()
	a, b := s.nodes[0], s.nodes[1]
	for tries := 1; ; tries++ {
		session := a.fullUnstored()
		ctx, cancel := contextFor(200 * time.Millisecond)
		err := a.binding.Flush(ctx)
		cancel()
		reason := b.resume(session)
		took := time.Since(begun)
		if reason == reprise.Resumed {
			s.t.Logf("sessions are shared again after %v, %d tries", took.Round(time.Millisecond), tries)
		}
		if reason == reprise.Resumed && took > 2*time.Second {
			s.tooLate("sessions are shared after %v only", took)
		}
		if reason == reprise.Resumed {
			break
		}
		if took > 20*time.Second {
			s.t.Fatalf("sessions are not shared again: %v, %v", reason, err)
		}
	}
	for _, n := range s.nodes {
		n.follows(true)
	}
	s.enter("after")
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
