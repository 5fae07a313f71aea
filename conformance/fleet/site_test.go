package fleet_test

import (
	"crypto/tls"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/conformance/fleet"
)

// A site is two nodes with the deadlines that nodes have, and clients that come to one and the other all the time, some of them
// for the first time.
type site struct {
	t       *testing.T
	fleet   *fleet.Fleet
	control *control
	atRest  [2]use // when clients had come and gone

	stop    chan struct{}
	clients sync.WaitGroup

	mu    sync.Mutex
	phase *phase
}

// A phase is what clients have seen for a while.
type phase struct {
	slowest  time.Duration   // handshake of the control meanwhile
	full     []time.Duration // how long full handshakes took
	resumed  int
	failures []error
}

// A use is what a node uses.
type use struct{ goroutines, heap float64 }

const (
	// noise is what a handshake may take longer than at other times and than that of the control: it has the store's work beside it.
	noise = 100 * time.Millisecond
	// recovery is how long it may take until sessions are shared again.
	recovery = 2 * time.Second
	// heapNoise is how many bytes may be in use for this and that: sessions, and what was asked of the node. A connection to a server
	// of Redis takes 160 kB.
	heapNoise = 3 << 19
	// goroutineNoise is how many goroutines may be about to end, or wait on a connection that is kept, such as to a replica in a cluster
	// that was not asked before. A connection has two.
	goroutineNoise = 6
	// waiting is how many goroutines that have called the store, or written to it, may wait for the next call: 16 of either kind.
	waiting = 2 * 16
)

// open starts a site, and returns what its clients see before anything happens.
func open(t *testing.T, c *control, store string) (s *site, before *phase) {
	t.Helper()
	s = &site{t: t, control: c, fleet: start(t, store, []string{"one", "two"}), phase: &phase{}}
	s.recovers()
	s.letCome()
	before = s.watch("before", time.Second)
	s.letGo()
	if before.resumed == 0 {
		t.Error("no session was resumed before anything happened")
	}
	for i, n := range s.fleet.Nodes {
		s.atRest[i] = s.use(n)
	}
	s.letCome()
	return s, before
}

// letCome starts the clients.
func (s *site) letCome() {
	s.stop = make(chan struct{})
	for i := range 4 {
		s.clients.Go(func() { s.come(i) })
	}
}

// letGo ends them.
func (s *site) letGo() {
	close(s.stop)
	s.clients.Wait()
}

// come is clients that come one after the other, each to both nodes by turns.
func (s *site) come(number int) {
	const visits = 4
	version := uint16(tls.VersionTLS13)
	if number == 0 {
		version = tls.VersionTLS12
	}
	for {
		config := s.fleet.ClientConfig(version)
		for visit := range visits {
			select {
			case <-s.stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
			a, took, err := s.fleet.Ask(s.t.Context(), s.fleet.Nodes[visit%2].Address, config)
			s.saw(a, took, err)
		}
	}
}

func (s *site) saw(a fleet.Answer, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.phase.failures = append(s.phase.failures, err)
	case a.Resumed:
		s.phase.resumed++
	default:
		s.phase.full = append(s.phase.full, took)
	}
}

// watch returns what clients see for a while. No handshake may fail.
func (s *site) watch(name string, d time.Duration) *phase {
	s.t.Helper()
	begun := time.Now()
	s.next()
	time.Sleep(d)
	p := s.next()
	p.slowest = s.control.slowest(begun)
	for _, err := range p.failures {
		s.t.Errorf("%s: a handshake failed: %v", name, err)
	}
	s.t.Logf("%-6s %4d full handshakes, p99 %v, control %v at most; %4d resumptions", name, len(p.full),
		p.p99().Round(time.Millisecond/10), p.slowest.Round(time.Millisecond/10), p.resumed)
	return p
}

// next begins another phase and returns the one before.
func (s *site) next() *phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.phase
	s.phase = &phase{}
	return p
}

func (p *phase) p99() time.Duration {
	if len(p.full) == 0 {
		return 0
	}
	slices.Sort(p.full)
	return p.full[len(p.full)*99/100]
}

// isNoSlowerThan checks that full handshakes take no longer than they did, or than those of the control, but for the lookup deadline.
func (s *site) isNoSlowerThan(p, before *phase) {
	s.t.Helper()
	if most := max(before.p99(), p.slowest) + reprise.DefaultLookupTimeout + noise; p.p99() > most {
		s.t.Errorf("p99 of full handshakes is %v, before it was %v, and that of the control is %v at most", p.p99(), before.p99(), p.slowest)
	}
}

// recovers waits until a session that one node has made resumes on the other. That must not take long.
func (s *site) recovers() {
	s.t.Helper()
	begun := time.Now()
	for tries := 1; ; tries++ {
		config := s.fleet.ClientConfig(tls.VersionTLS13)
		s.ask(0, config)
		time.Sleep(30 * time.Millisecond)
		a := s.ask(1, config)
		took := time.Since(begun)
		if a.Resumed {
			s.t.Logf("sessions are shared after %v, %d tries", took.Round(time.Millisecond), tries)
		}
		if !a.Resumed && took < 10*recovery {
			continue
		}
		if took > s.control.recoversWithin(begun) {
			s.t.Errorf("sessions are shared after %v only: %q; the slowest handshake of the control took %v", took, a.Reason, s.control.slowest(begun))
		}
		return
	}
}

// ask makes a connection to a node. No fault may make it fail.
func (s *site) ask(node int, config *tls.Config) fleet.Answer {
	s.t.Helper()
	a, _, err := s.fleet.Ask(s.t.Context(), s.fleet.Nodes[node].Address, config)
	if err != nil {
		s.t.Errorf("a handshake failed: %v", err)
	}
	return a
}

// counted returns the sum of some counters of the nodes' stores.
func (s *site) counted(names []string) (sum float64) {
	s.t.Helper()
	for _, n := range s.fleet.Nodes {
		counters, err := n.StoreCounters()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range names {
			value, ok := counters[name]
			if !ok {
				s.t.Fatalf("no counter %s", name)
			}
			sum += value
		}
	}
	return sum
}

// use returns what a node uses, garbage not counted: it asks until a collection has ended, which what it asks brings about.
func (s *site) use(n *fleet.Node) use {
	s.t.Helper()
	collections := s.metric(n, "go_gc_duration_seconds_count")
	for s.metric(n, "go_gc_duration_seconds_count") == collections {
		time.Sleep(time.Millisecond)
	}
	return use{s.metric(n, "go_goroutines"), s.metric(n, "go_memstats_heap_alloc_bytes")}
}

func (s *site) metric(n *fleet.Node, name string) float64 {
	s.t.Helper()
	value, err := n.Metric(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// close ends the clients. Soon after, nodes use what they did before.
func (s *site) close() {
	s.t.Helper()
	s.letGo()
	for i, n := range s.fleet.Nodes {
		most := use{s.atRest[i].goroutines + waiting + goroutineNoise, s.atRest[i].heap + heapNoise}
		var now use
		var queued float64
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			now = s.use(n)
			queued, _ = n.Metric(`reprise_store_queue_length{store="redis"}`)
			if now.goroutines <= most.goroutines && now.heap <= most.heap && queued == 0 {
				break
			}
		}
		s.t.Logf("%s: goroutines before %v, after %v; bytes before %v, after %v", n.Name,
			s.atRest[i].goroutines, now.goroutines, s.atRest[i].heap, now.heap)
		if now.goroutines > most.goroutines || now.heap > most.heap || queued > 0 {
			s.t.Errorf("%s has not come to rest: %+v, before %+v; %v records wait to be written", n.Name, now, s.atRest[i], queued)
		}
	}
}
