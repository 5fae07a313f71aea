// Package singleuse_test offers sessions for single use many times at once, to three servers with one Redis.
package singleuse_test

import (
	"crypto/tls"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// offers is how often each session is offered at once.
const offers = 20

// isLong tells that there is time for the long forms of the tests.
var isLong = os.Getenv("REPRISE_SOAK") != ""

// offer offers a session to all nodes at once, and returns how many connections have resumed it. None may fail.
func (f *fleet) offer(version uint16, session *tls.ClientSessionState) (resumed int) {
	var count atomic.Int32
	var all sync.WaitGroup
	for i := range offers {
		all.Go(func() {
			did, _, err := f.nodes[i%len(f.nodes)].visit(version, session)
			if err != nil {
				f.t.Errorf("a handshake has failed: %v", err)
			}
			if did {
				count.Add(1)
			}
		})
	}
	all.Wait()
	return int(count.Load())
}

// each calls f for the numbers below n, 8 at a time.
func each(n int, f func(i int)) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	workers.Wait()
}

// TestOnce offers each session 20 times at once, to three nodes. One resumes; all others know that it was used.
func TestOnce(t *testing.T) {
	const many = 1000
	for version, count := range map[uint16]int{tls.VersionTLS12: 100, tls.VersionTLS13: many} {
		if isLong {
			count = many
		}
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := startFleet(t, reprise.Options{LookupTimeout: patience})
			sessions := make([]*tls.ClientSessionState, count)
			each(count, func(i int) {
				var err error
				if sessions[i], err = f.nodes[i%len(f.nodes)].full(version); err != nil {
					t.Error(err)
				}
			})
			if t.Failed() {
				return
			}
			f.flush()
			each(count, func(i int) {
				if t.Failed() {
					return
				}
				if resumed := f.offer(version, sessions[i]); resumed != 1 {
					t.Errorf("a session was resumed %d times", resumed)
				}
			})
			want := map[reprise.Reason]uint64{
				reprise.NotOffered: uint64(count),
				reprise.Resumed:    uint64(count),
				reprise.Used:       uint64(count * (offers - 1)),
			}
			for reason, got := range f.outcomes() {
				if got != want[reason] {
					t.Errorf("%d handshakes ended as %v, want %d", got, reason, want[reason])
				}
			}

			// Whoever comes later is late everywhere.
			each(min(count, 30), func(i int) {
				for _, n := range f.nodes {
					if resumed, _, err := n.visit(version, sessions[i]); resumed || err != nil {
						t.Errorf("offered again: resumed %v, %v", resumed, err)
					}
				}
			})
		})
	}
}

// TestOnceWhileRedisDies does so while Redis is killed and comes back, with its data or without. No handshake fails, no session
// resumes twice, then or later, and sessions resume before and after.
func TestOnceWhileRedisDies(t *testing.T) {
	for name, forget := range map[string]bool{"with its data": false, "without its data": true} {
		t.Run(name, func(t *testing.T) {
			f := startFleet(t, reprise.Options{LookupTimeout: 300 * time.Millisecond})
			var phase atomic.Int32
			l := &load{fleet: f, phase: &phase, resumed: make(map[int32]int)}
			done := make(chan struct{})
			var clients sync.WaitGroup
			for i := range 4 {
				clients.Go(func() { l.run(i, done) })
			}
			cycles, pause := 2, time.Second
			if isLong {
				cycles, pause = 30, 2*time.Second
			}
			time.Sleep(pause)
			for range cycles {
				phase.Add(1)
				f.redis.Kill()
				time.Sleep(pause / 2)
				if forget {
					f.redis.Forget()
				}
				f.redis.Restart()
				f.follow()
				phase.Add(1)
				time.Sleep(pause)
			}
			close(done)
			clients.Wait()
			for p := int32(0); p <= phase.Load(); p += 2 {
				if l.resumed[p] == 0 {
					t.Errorf("no session was resumed in the phase %d, when Redis was there", p/2)
				}
			}
			t.Logf("%d sessions; resumed, by phases: %v; outcomes: %v", len(l.sessions), l.resumed, f.outcomes())
			l.offerAgain()
		})
	}
}

// A load makes sessions and offers each of them 20 times at once.
type load struct {
	*fleet
	phase *atomic.Int32 // odd while Redis is not there

	mu       sync.Mutex
	sessions []used
	resumed  map[int32]int // by phase
}

// A used session is one that was offered.
type used struct {
	version uint16
	session *tls.ClientSessionState
	times   int // that it was resumed
}

func (l *load) run(client int, done <-chan struct{}) {
	versions := []uint16{tls.VersionTLS12, tls.VersionTLS13}
	for i := client; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		version := versions[i%2]
		session, err := l.nodes[i%len(l.nodes)].full(version)
		if err != nil {
			l.t.Errorf("a handshake has failed: %v", err)
			return
		}
		time.Sleep(time.Duration(i%3) * 5 * time.Millisecond) // the put is queued, under way, or done
		phase := l.phase.Load()
		times := l.offer(version, session)
		if times > 1 {
			l.t.Errorf("a session was resumed %d times", times)
		}
		l.mu.Lock()
		l.sessions = append(l.sessions, used{version, session, times})
		l.resumed[phase] += times
		l.mu.Unlock()
	}
}

// offerAgain offers every session to every node once more.
func (l *load) offerAgain() {
	each(len(l.sessions), func(i int) {
		s := l.sessions[i]
		for _, n := range l.nodes {
			resumed, _, err := n.visit(s.version, s.session)
			if err != nil {
				l.t.Errorf("a handshake has failed: %v", err)
			}
			if resumed {
				s.times++
			}
		}
		if s.times > 1 {
			l.t.Errorf("a session was resumed %d times in the end", s.times)
		}
	})
}

// TestLineage goes from node to node. Each resumption makes a session of the same lineage, which ends 7 days after the full
// handshake, on whichever node.
func TestLineage(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			var later atomic.Int64 // than it is
			f := startFleet(t, reprise.Options{
				LookupTimeout: patience,
				Now:           func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
			})
			const timeout = 48 * time.Hour
			for _, n := range f.nodes {
				n.cache.SetTimeout(timeout)
			}
			session, err := f.nodes[0].full(version)
			if err != nil {
				t.Fatal(err)
			}
			first := f.nodes[0].lineageOf(session)
			const step = 40 * time.Hour
			for generation := 1; time.Duration(generation)*step < 7*24*time.Hour; generation++ {
				f.flush()
				later.Add(int64(step))
				n := f.nodes[generation%len(f.nodes)]
				resumed, next, err := n.visit(version, session)
				if err != nil || !resumed {
					t.Fatalf("generation %d: resumed %v, %v", generation, resumed, err)
				}
				got := n.lineageOf(next)
				if got.ID != first.ID || !got.Start.Equal(first.Start) || int(got.Generation) != generation {
					t.Fatalf("generation %d has the lineage %+v, the first session %+v", generation, got, first)
				}
				session = next
			}
			f.flush()
			later.Add(int64(step))
			before := f.outcomes()[reprise.Expired]
			for _, n := range f.nodes {
				if resumed, _, err := n.visit(version, session); resumed || err != nil {
					t.Errorf("past the lineage's end: resumed %v, %v", resumed, err)
				}
			}
			if got := f.outcomes()[reprise.Expired] - before; got != 3 {
				t.Errorf("%d declined as expired, want 3: %v", got, f.outcomes())
			}
		})
	}
}

// lineageOf returns the lineage of a session that a node has made.
func (n *node) lineageOf(session *tls.ClientSessionState) reprise.Lineage {
	n.t.Helper()
	s := n.cache.Lookup(n.idOf(session))
	if s == nil {
		n.t.Fatal("the node does not have the session that it made")
	}
	return s.Lineage()
}
