package conformance_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// TestUnclean: how a connection ends decides whether its session stays, by the rule of --unclean. The server has closed
// no connection itself here.
func TestUnclean(t *testing.T) {
	forEachVariant(t, func(t *testing.T, s settings) {
		for _, test := range []struct {
			rule   string
			end    func(*idleOpenSSL, *testing.T)
			reason string
		}{
			{"openssl", (*idleOpenSSL).kill, "resumed"},
			{"never", (*idleOpenSSL).kill, "resumed"},
			{"fatal", (*idleOpenSSL).kill, "resumed"},
			{"strict", (*idleOpenSSL).kill, "unknown"},
			{"strict", (*idleOpenSSL).quit, "resumed"},
		} {
			t.Run(test.rule+" "+test.reason, func(t *testing.T) {
				t.Parallel()
				server := s.serve(t, "--unclean", test.rule)
				r := request{addr: server.Addr, name: harness.NameA}
				c := newOpenSSL(t, s)
				test.end(c.idle(t, r, server), t)
				server.Stop() // it waits for the end of the connection
				server.Restart()
				if got := c.connect(t, r); got.Reason != test.reason {
					t.Errorf("reason %q, want %q: %+v", got.Reason, test.reason, got.Answer)
				}
			})
		}
	})
}

// idleOpenSSL is an s_client that has its session and asks nothing.
type idleOpenSSL struct {
	process *harness.Process
	input   interface{ Close() error }
}

func (c *openSSL) idle(t *testing.T, r request, server *harness.Server) *idleOpenSSL {
	t.Helper()
	command := exec.Command(c.path, c.args(r)...)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	idle := &idleOpenSSL{harness.StartProcess(t, command), input}
	idle.process.Until("s_client to have its session", func() bool { return c.hasSession() })
	server.AwaitStored(1)
	return idle
}

// hasSession tells whether the file of the session is complete.
func (c *openSSL) hasSession() bool {
	content := harness.Read(c.session)
	return strings.Contains(content, "-----END SSL SESSION PARAMETERS-----")
}

// kill ends the client without a close_notify.
func (c *idleOpenSSL) kill(*testing.T) { c.process.Kill() }

// quit ends the client at the end of its input: with a close_notify.
func (c *idleOpenSSL) quit(t *testing.T) {
	t.Helper()
	c.input.Close()
	if err := c.process.Wait(); err != nil {
		t.Fatal(err)
	}
}
