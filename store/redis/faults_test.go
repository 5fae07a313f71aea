package redisstore_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// TestFaults lets clients come to two nodes while something happens to their store. No handshake fails, none takes longer than
// the lookup deadline more, the nodes count what happened, and 2 seconds after the end of it sessions are shared again.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(*testing.T){
		"Killed":           testKilled,
		"Stopped":          testStopped,
		"Reset":            testReset,
		"Blackhole":        testBlackhole,
		"Slow":             testSlow,
		"Full":             testFull,
		"Garbage":          testGarbage,
		"RestartedEmpty":   testRestartedEmpty,
		"OldSnapshot":      testOldSnapshot,
		"OthersRecords":    testOthersRecords,
		"ReadOnly":         testReadOnly,
		"ClusterFailover":  testClusterFailover,
		"ClusterHangs":     testClusterPrimaryHangs,
		"SentinelFailover": testSentinelFailover,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault(t)
		})
	}
}

// during runs the load while something happens, and checks that it was counted.
func (s *site) during(d time.Duration, counted func(reprise.StoreStats) uint64) {
	s.t.Helper()
	before := counted(s.total())
	s.enter("during")
	time.Sleep(d)
	if counted(s.total()) == before {
		s.t.Errorf("what happened was not counted: %s", s.stats())
	}
}

func failures(s reprise.StoreStats) uint64 { return s.Errors + s.Timeouts }

func testKilled(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	old := s.nodes[0].full()
	server.Kill()
	s.during(1500*time.Millisecond, failures)
	server.Restart()
	s.recovers()
	s.nodes[1].recovers(old, reprise.Resumed)
}

func testStopped(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	server.Signal(syscall.SIGSTOP)
	s.during(5*time.Second, func(s reprise.StoreStats) uint64 { return s.Timeouts })
	server.Signal(syscall.SIGCONT)
	s.recovers()
}

func testReset(t *testing.T) {
	p := startProxy(t, redistest.Start(t).Addr)
	s := newSite(t, "redis://"+p.address())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			p.reset()
			time.Sleep(75 * time.Millisecond)
		}
	}()
	s.during(1500*time.Millisecond, func(s reprise.StoreStats) uint64 { return s.NoticesLost })
	<-done
	s.recovers()
}

func testBlackhole(t *testing.T) {
	p := startProxy(t, redistest.Start(t).Addr)
	s := newSite(t, "redis://"+p.address())
	p.swallow()
	s.during(2500*time.Millisecond, func(s reprise.StoreStats) uint64 { return s.Timeouts })
	p.pass()
	s.recovers()
}

func testSlow(t *testing.T) {
	p := startProxy(t, redistest.Start(t).Addr)
	s := newSite(t, "redis://"+p.address())
	p.slow(500 * time.Millisecond)
	s.during(2500*time.Millisecond, func(s reprise.StoreStats) uint64 { return s.Timeouts })
	p.pass()
	s.recovers()
}

// testFull fills the memory of Redis: nothing can be put, but what is there can be taken and removed.
func testFull(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	single, gone := s.nodes[0].full(singleUse), s.nodes[0].full()
	server.Command("CONFIG", "SET", "maxmemory-policy", "noeviction")
	server.Command("CONFIG", "SET", "maxmemory", "1")
	s.during(time.Second, func(s reprise.StoreStats) uint64 { return s.PutsFailed })
	for range 100 {
		s.nodes[0].fullUnstored() // puts that the delete must not wait for
	}
	s.nodes[0].Remove(gone)
	time.Sleep(500 * time.Millisecond)
	s.nodes[1].recovers(gone, reprise.Unknown)
	s.nodes[1].recovers(single, reprise.Resumed)
	server.Command("CONFIG", "SET", "maxmemory", "0")
	s.recovers()
}

// testGarbage puts something else in the place of Redis, that answers whatever it is asked.
func testGarbage(t *testing.T) {
	p := startProxy(t, redistest.Start(t).Addr)
	s := newSite(t, "redis://"+p.address())
	for _, answer := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "$3\r\nabc\r\n", "*-1\r\n%9999999999\r\n", ">2\r\n$10\r\ninvalidate\r\n:1\r\n", "\x00\xff\x15\x03\x01", "-MOVED 1\r\n"} {
		p.redirect(startFake(t, func(string) string { return answer }))
		s.during(400*time.Millisecond, func(s reprise.StoreStats) uint64 { return failures(s) + s.NoticesLost + s.BreakerOpened })
		p.redirect("")
		s.recovers()
	}
}

// startFake starts a server that answers to what each read brings.
func startFake(t *testing.T, answer func(commands string) string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for buf := make([]byte, 4096); ; {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer(string(buf[:n]))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func testRestartedEmpty(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	old := s.nodes[0].full()
	s.nodes[0].resumes(old, reprise.Resumed)
	server.Kill()
	server.Forget()
	s.during(500*time.Millisecond, failures)
	server.Restart()
	s.recovers()
	for _, n := range s.nodes {
		n.recovers(old, reprise.Unknown)
	}
}

// testOldSnapshot goes back to what Redis had before a session for single use was used.
func testOldSnapshot(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	single, unused, multi := s.nodes[0].full(singleUse), s.nodes[0].full(singleUse), s.nodes[0].full()
	data, saved := filepath.Join(server.Data, "appendonlydir"), filepath.Join(t.TempDir(), "saved")
	copyTree(t, data, saved)
	s.nodes[1].resumes(single, reprise.Resumed)
	server.Kill()
	server.Forget()
	copyTree(t, saved, data)
	s.during(500*time.Millisecond, failures)
	server.Restart()
	s.recovers()
	stale := s.total().Stale
	for _, n := range s.nodes {
		for _, session := range []*reprise.Session{single, unused} {
			n.refuses(session)
		}
		n.recovers(multi, reprise.Resumed)
	}
	if s.total().Stale == stale {
		t.Error("records of an earlier life were not counted")
	}
	after := s.nodes[0].full(singleUse)
	s.nodes[1].resumes(after, reprise.Resumed)
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// testOthersRecords puts the record of one session in the place of another one's, one of an older format, and noise.
func testOthersRecords(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, server.URL())
	a, b := s.nodes[0], s.nodes[1]
	first := a.full()
	for _, replace := range []func(name string){
		func(name string) { server.Command("COPY", a.recordOf(first), name, "REPLACE") },
		func(name string) { server.Command("SETRANGE", name, "0", "\x00") },
		func(name string) { server.Command("SET", name, "noise") },
		func(name string) { server.Command("SET", name, "") },
	} {
		multi, single := a.full(), a.full(singleUse)
		damaged := s.total().Damaged
		replace(a.recordOf(multi))
		replace(a.recordOf(single))
		a.loses(multi) // what is under its name is not what it was
		for _, session := range []*reprise.Session{multi, single} {
			b.recovers(session, reprise.Unknown)
		}
		if s.total().Damaged < damaged+2 {
			t.Error("damaged records were not counted")
		}
	}
	server.Command("DEL", a.recordOf(first))
	server.Command("LPUSH", a.recordOf(first), "no string")
	s.enter("during")
	b.recovers(first, reprise.StoreError)
	s.recovers()
}

// testReadOnly makes the server a replica of another one, for a while.
func testReadOnly(t *testing.T) {
	server, other := redistest.Start(t), redistest.Start(t)
	s := newSite(t, server.URL())
	server.Command("REPLICAOF", "127.0.0.1", other.Port())
	s.during(1500*time.Millisecond, func(s reprise.StoreStats) uint64 { return s.PutsFailed })
	server.Command("REPLICAOF", "NO", "ONE")
	s.recovers()
}

func testClusterFailover(t *testing.T) {
	c := redistest.StartCluster(t)
	s := newSite(t, c.URL())
	c.Primaries[0].Kill()
	s.during(0, func(reprise.StoreStats) uint64 { return uint64(time.Now().UnixNano()) })
	c.AwaitPromoted(c.Replicas[0])
	if failures(s.total()) == 0 {
		t.Error("nothing was counted")
	}
	s.recovers()
}

// testClusterPrimaryHangs: while one primary of a cluster hangs, and no replica takes its place, sessions of the others are shared,
// removed and used once as ever.
func testClusterPrimaryHangs(t *testing.T) {
	c := redistest.StartCluster(t, "cluster-node-timeout 60000")
	s := newSite(t, c.URL())
	a, b := s.nodes[0], s.nodes[1]
	hangs := func(session *reprise.Session) bool {
		slot, err := strconv.Atoi(c.Primaries[1].Command("CLUSTER", "KEYSLOT", a.recordOf(session)))
		return err == nil && slot < redistest.Slots/3
	}
	var waiting []*reprise.Session // for the primary that hangs
	c.Primaries[0].Signal(syscall.SIGSTOP)
	s.enter("during")
	well, shared, gone := 0, 0, 0
	for begun := time.Now(); time.Since(begun) < 5*time.Second; {
		var single, multi []*reprise.Session
		for len(single) < 4 || len(multi) < 1 {
			if session := a.fullUnstored(singleUse); !hangs(session) {
				single = append(single, session)
			}
			if session := a.fullUnstored(); hangs(session) {
				waiting = append(waiting, session)
			} else {
				multi = append(multi, session)
			}
		}
		time.Sleep(20 * time.Millisecond)
		well += len(single) + len(multi)
		for _, session := range append(single, multi...) {
			if b.resume(session) == reprise.Resumed {
				shared++
			}
		}
		for _, session := range multi {
			a.Remove(session)
		}
		time.Sleep(10 * time.Millisecond)
		for _, session := range append(single, multi...) {
			if b.resume(session) == reprise.Unknown {
				gone++
			}
		}
	}
	sum := s.total()
	load := s.enter("stopped")
	t.Logf("of %d sessions of the other primaries %d resumed elsewhere, and then %d were gone; %s", well, shared, gone, s.stats())
	if shared < well*9/10 || gone < well*9/10 {
		t.Errorf("of %d sessions of the other primaries %d resumed elsewhere, and %d were gone when used or removed", well, shared, gone)
	}
	if most := len(waiting) + len(load.full) + load.resumed; sum.Timeouts == 0 || sum.PutsFailed > uint64(most) {
		t.Errorf("%d timeouts; %d puts failed, of %d that could", sum.Timeouts, sum.PutsFailed, most)
	}
	c.Primaries[0].Signal(syscall.SIGCONT)
	s.recoversWith(func() reprise.Reason { return b.resume(waiting[len(waiting)-1]) })
}

func testSentinelFailover(t *testing.T) {
	g := redistest.StartSentinels(t)
	s := newSite(t, g.URL())
	g.Primary.Kill()
	s.enter("during")
	g.Replica.AwaitPromoted()
	if failures(s.total()) == 0 {
		t.Error("nothing was counted")
	}
	s.recovers()
}
