package conformance_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// TestResumption: the first connection makes a full handshake, each one after it resumes the session of the one before.
func TestResumption(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t, "--node", "alone")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		second := c.connect(t, r)
		second.isOf(t, first)
		if second.Node != "alone" || second.ServerName != harness.NameA || second.Engine != s.engine ||
			second.TLSVersion != s.versionName() || second.Mechanism != p.mechanism(s.variant) {
			t.Errorf("not how the connection was made: %+v", second.Answer)
		}
		if s.version == tls.VersionTLS12 && second.NewSession != "" {
			t.Errorf("a resumption in TLS 1.2 keeps its session, and has made %s", second.NewSession)
		}
		if !p.once {
			c.connect(t, r).isOf(t, second)
		}
	})
}

// TestLimitsOfStandardEngine holds what crypto/tls cannot do in TLS 1.2, so that it shows when it can. These clients
// resume by session IDs, or by tickets with a lifetime; it has neither, and package native has both.
func TestLimitsOfStandardEngine(t *testing.T) {
	t.Parallel()
	v := variant{tls.VersionTLS12, "crypto/tls"}
	for _, p := range programs {
		if !p.never(v) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := settings{v, harness.NewFiles(t)}
			server := s.serve(t)
			c := p.start(t, s)
			r := request{addr: server.Addr, name: harness.NameA}
			for range 3 {
				answer := c.connect(t, r)
				if answer.Resumed {
					t.Fatalf("it resumes now: take neverTLS12 out (%s)", p.neverTLS12)
				}
				answer.isFull(t, "not-offered")
			}
		})
	}
}

// TestServerName: a session for one name does not resume for another (RFC 6066, section 3).
func TestServerName(t *testing.T) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		server := s.serve(t)
		c := p.start(t, s)
		first := c.connect(t, request{addr: server.Addr, name: harness.NameA})
		first.isFull(t, "not-offered")
		c.connect(t, request{addr: server.Addr, name: harness.NameB, keep: true}).isFull(t, "server-name")
		c.connect(t, request{addr: server.Addr, name: harness.NameA}).isOf(t, first)
	})
}

// TestContext: a session of one session ID context does not resume in another.
func TestContext(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t, "--context", "shop")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		c.connect(t, r).isFull(t, "not-offered")
		server.Stop()
		server.Restart("--context", "forum")
		c.connect(t, r).isFull(t, "scope")
	})
}

// TestExpired: a session does not resume after its timeout, which neither version of TLS tells the client as it is.
func TestExpired(t *testing.T) {
	const timeout = time.Second
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t, "--timeout", timeout.String())
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		c.connect(t, r).isFull(t, "not-offered")
		time.Sleep(timeout + 50*time.Millisecond) // nothing but the clock ends it
		c.connect(t, r).isFull(t, "expired")
	})
}

// TestRemoved: a session that 'reprise sessions remove' has named does not resume.
func TestRemoved(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		server := s.serve(t)
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		first := c.connect(t, r)
		sessions := server.AwaitStored(1)
		if first.answered && first.Session != sessions[0].Session {
			t.Errorf("the answer names %s, the list %s", first.Session, sessions[0].Session)
		}
		server.Remove(sessions[0].Session)
		c.connect(t, r).isFull(t, "unknown")
	})
}

// TestSingleUse: what was used once is gone, and what it has led to is not.
func TestSingleUse(t *testing.T) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		server := s.serve(t, "--single-use")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		again := request{addr: server.Addr, name: harness.NameA, keep: true}
		c.connect(t, r).isFull(t, "not-offered")
		c.connect(t, again).isResumed(t)
		replaced := c.connect(t, r)
		replaced.isFull(t, "used")
		c.connect(t, again).isOf(t, replaced)
		server.Stop()
		server.Restart()
		c.connect(t, r).isFull(t, "used")
	})
}
