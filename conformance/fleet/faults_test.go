package fleet_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/fleet"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// A fault is something that happens to the store of a site.
type fault struct {
	// store is the URL of a store that can be made to fail.
	store string
	// begin makes it fail, and end ends that: when it returns, the store is back.
	begin, end func()
	// lasts is for how long.
	lasts time.Duration
	// counted are counters of which one at least must tell. None if nothing is to be seen.
	counted []string
	// old is what becomes of a session that was made before the fault, at the node that has not got it; it is not looked at if
	// this is empty.
	old string
}

// TestFaults: whatever happens to the store, no handshake of two nodes fails, or takes longer than the lookup deadline allows; soon
// after, sessions are shared again, and the nodes use no more than before.
func TestFaults(t *testing.T) {
	c := startControl(t)
	slots := make(chan struct{}, 2) // so that they disturb each other little
	for name, prepare := range map[string]func(*testing.T) fault{
		"killed":             killed,
		"stopped":            stopped,
		"reset":              reset,
		"blackhole":          blackhole,
		"slow":               slow,
		"full":               full,
		"restarted empty":    restartedEmpty,
		"old snapshot":       oldSnapshot,
		"garbage":            garbage,
		"read-only replica":  readOnly,
		"slots moved":        slotsMoved,
		"master failed over": failedOver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			happens(t, c, prepare(t))
		})
	}
}

func happens(t *testing.T, c *control, f fault) {
	s, before := open(t, c, f.store)
	old := s.fleet.ClientConfig(tls.VersionTLS12)
	s.ask(0, old)
	time.Sleep(50 * time.Millisecond) // until it is stored
	counted := s.counted(f.counted)

	f.begin()
	during := s.watch("during", long(f.lasts))
	if len(f.counted) > 0 && s.counted(f.counted) == counted {
		t.Errorf("it was not counted: %q", f.counted)
	}
	f.end()

	s.recovers()
	s.isNoSlowerThan(during, before)
	if a := s.ask(1, old); f.old != "" && a.Reason != f.old {
		t.Errorf("a session of before: %q, want %q", a.Reason, f.old)
	}
	after := s.watch("after", time.Second)
	s.isNoSlowerThan(after, before)
	if after.resumed == 0 {
		t.Error("no session was resumed afterwards")
	}
	s.close()
}

// long returns d, or more if the long forms of the tests are asked for.
func long(d time.Duration) time.Duration {
	if isLong {
		return 10 * d
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, r *fleet.Redis, args ...string) string {
	t.Helper()
	answer, err := r.Command(args...)
	must(t, err)
	return answer
}

func urlOf(address string) string { return "redis://" + address }

func killed(t *testing.T) fault {
	r := startRedis(t)
	return fault{
		store: urlOf(r.Address), begin: r.Kill, end: func() { must(t, r.Start()) },
		lasts: 1500 * time.Millisecond, counted: []string{"errors"}, old: "resumed",
	}
}

func stopped(t *testing.T) fault {
	r := startRedis(t)
	return fault{
		store: urlOf(r.Address),
		begin: func() { must(t, r.Signal(syscall.SIGSTOP)) },
		end:   func() { must(t, r.Signal(syscall.SIGCONT)) },
		lasts: 5 * time.Second, counted: []string{"timeouts"}, old: "resumed",
	}
}

// reset cuts all connections again and again.
func reset(t *testing.T) fault {
	n := startNetwork(t, startRedis(t).Address)
	stop, stopped := make(chan struct{}), make(chan struct{})
	begin := func() {
		go func() {
			defer close(stopped)
			for {
				n.cut()
				select {
				case <-stop:
					return
				case <-time.After(70 * time.Millisecond):
				}
			}
		}()
	}
	end := func() {
		close(stop)
		<-stopped
	}
	return fault{
		store: urlOf(n.address), begin: begin, end: end,
		lasts: 1500 * time.Millisecond, counted: []string{"errors", "notices_lost"}, old: "resumed",
	}
}

// inNetwork is trouble between the nodes and Redis.
func inNetwork(t *testing.T, does trouble, counted ...string) fault {
	n := startNetwork(t, startRedis(t).Address)
	return fault{
		store: urlOf(n.address), begin: func() { n.make(does) }, end: func() { n.make(trouble{}) },
		lasts: 2500 * time.Millisecond, counted: counted, old: "resumed",
	}
}

func blackhole(t *testing.T) fault { return inNetwork(t, trouble{holds: true}, "timeouts") }

func slow(t *testing.T) fault {
	return inNetwork(t, trouble{delays: 500 * time.Millisecond}, "timeouts")
}

func garbage(t *testing.T) fault {
	return inNetwork(t, trouble{answers: "$5\r\nhello\r\n*2\r\n$-1\r\n:1\r\n!bad\r\n"}, "errors", "timeouts", "damaged")
}

// full is a Redis that has no room for more.
func full(t *testing.T) fault {
	r := startRedis(t, "--maxmemory-policy", "noeviction")
	return fault{
		store: urlOf(r.Address),
		begin: func() { command(t, r, "CONFIG", "SET", "maxmemory", "1") },
		end:   func() { command(t, r, "CONFIG", "SET", "maxmemory", "0") },
		lasts: time.Second, counted: []string{"puts_failed"}, old: "resumed",
	}
}

func appendOnly(r *fleet.Redis) string { return filepath.Join(r.Dir, "appendonlydir") }

func restartedEmpty(t *testing.T) fault {
	r := startRedis(t)
	return fault{
		store: urlOf(r.Address),
		begin: r.Kill,
		end: func() {
			must(t, os.RemoveAll(appendOnly(r)))
			must(t, r.Start())
		},
		lasts: time.Second / 2, counted: []string{"errors"}, old: "unknown",
	}
}

// oldSnapshot is a Redis that has forgotten everything since a moment.
func oldSnapshot(t *testing.T) fault {
	r := startRedis(t)
	saved := filepath.Join(t.TempDir(), "saved")
	return fault{
		store: urlOf(r.Address),
		begin: func() {
			must(t, os.CopyFS(saved, os.DirFS(appendOnly(r))))
			time.Sleep(500 * time.Millisecond) // for sessions that will be forgotten
			r.Kill()
		},
		end: func() {
			must(t, os.RemoveAll(appendOnly(r)))
			must(t, os.Rename(saved, appendOnly(r)))
			must(t, r.Start())
		},
		lasts: time.Second / 2, counted: []string{"errors"}, old: "resumed",
	}
}

// readOnly is a Redis that is made the replica of another one, and is let go again.
func readOnly(t *testing.T) fault {
	r, other := startRedis(t), startRedis(t)
	host, port, _ := strings.Cut(other.Address, ":")
	return fault{
		store: urlOf(r.Address),
		begin: func() { command(t, r, "REPLICAOF", host, port) },
		end:   func() { command(t, r, "REPLICAOF", "NO", "ONE") },
		lasts: 1500 * time.Millisecond, counted: []string{"puts_failed"},
	}
}

// slotsMoved moves slots, with the sessions in them, while the clients come.
func slotsMoved(t *testing.T) fault {
	c := startCluster(t)
	done := make(chan error)
	begin := func() {
		move := exec.Command("redis-cli", "--cluster", "reshard", c.Nodes[0].Address, "--cluster-yes",
			"--cluster-from", command(t, c.Nodes[0], "CLUSTER", "MYID"),
			"--cluster-to", command(t, c.Nodes[1], "CLUSTER", "MYID"), "--cluster-slots", "150")
		go func() { done <- move.Run() }()
	}
	return fault{
		store: c.URL(), begin: begin, end: func() { must(t, <-done) },
		lasts: 2 * time.Second, old: "resumed",
	}
}

// failedOver kills a master, and waits until its replica has taken its place.
func failedOver(t *testing.T) fault {
	c := startCluster(t)
	end := func() {
		for end := time.Now().Add(harness.Patience); ; time.Sleep(20 * time.Millisecond) {
			state, _ := c.Nodes[1].Command("CLUSTER", "INFO")
			nodes, _ := c.Nodes[1].Command("CLUSTER", "NODES")
			if strings.Contains(state, "cluster_state:ok") && strings.Contains(nodes, "master,fail ") {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("no replica has taken the place of its master:\n%s", nodes)
			}
		}
	}
	return fault{
		store: c.URL(), begin: c.Nodes[0].Kill, end: end,
		lasts: 2 * time.Second, counted: []string{"errors", "timeouts"},
	}
}
