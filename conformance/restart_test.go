package conformance_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// TestRestart: sessions outlive a server that was stopped, whenever they were made.
func TestRestart(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t)
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		server.Stop()
		server.Restart()
		c.connect(t, r).isOf(t, first)
	})
}

// TestStopFailsNobody: whom the kernel had accepted a connection of is served, though the server was told to stop before the
// handshake.
func TestStopFailsNobody(t *testing.T) {
	forEachVariant(t, func(t *testing.T, s settings) {
		server := s.serve(t)
		var conns []net.Conn
		for range 100 {
			conn, err := net.Dial("tcp", server.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		server.Signal(syscall.SIGTERM)
		roots := readRoots(t, s.files.CA)
		for i, raw := range conns {
			conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: harness.NameA, MaxVersion: s.version})
			if _, err := askOver(conn); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v, want status 0", err)
		}
	})
}

// lossAtCrash is how much of the last sessions a crash may cost at most.
const lossAtCrash = time.Second

// TestCrash: sessions outlive a server that was killed, but for those of the last second.
func TestCrash(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t)
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		server.AwaitStored(1)
		time.Sleep(lossAtCrash)
		server.Kill()
		server.Restart()
		c.connect(t, r).isOf(t, first)
	})
}

// TestUsedBeforeCrash: a session that was used once stays used, whenever the server is killed.
func TestUsedBeforeCrash(t *testing.T) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		server := s.serve(t, "--single-use")
		c := p.start(t, s)
		again := request{addr: server.Addr, name: harness.NameA, keep: true}
		c.connect(t, request{addr: server.Addr, name: harness.NameA}).isFull(t, "not-offered")
		server.AwaitStored(1)
		time.Sleep(lossAtCrash)
		c.connect(t, again).isResumed(t)
		server.Kill()
		server.Restart()
		c.connect(t, again).isFull(t, "used")
	})
}
