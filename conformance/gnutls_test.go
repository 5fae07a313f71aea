package conformance_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// gnuTLS is gnutls-cli --resume: it connects, disconnects, and connects again, which is when it asks something. It
// connects to a relay, which lets it wait between the two and chooses where each goes.
type gnuTLS struct {
	path     string
	settings settings
	relay    string
	asked    chan struct{} // gets something when a connection has come, and waits
	where    chan string   // gets the address where it goes
	priority string        // added to the priority string

	process *harness.Process // nil before the first connection
	output  bytes.Buffer
}

func startGnuTLS(t *testing.T, s settings) client {
	t.Helper()
	c := &gnuTLS{path: harness.Need(t, "gnutls-cli"), settings: s, asked: make(chan struct{}, 1), where: make(chan string)}
	c.relay = harness.Relay(t, func() string {
		c.asked <- struct{}{}
		select {
		case addr := <-c.where:
			return addr
		case <-t.Context().Done():
			return ""
		}
	})
	return c
}

// connect lets the next connection pass. Only the second has a result.
func (c *gnuTLS) connect(t *testing.T, r request) result {
	t.Helper()
	if c.process == nil {
		c.start(t, r)
		c.await(t)
		c.where <- r.addr
		c.await(t) // the first connection has its session and has ended
		return result{}
	}
	c.where <- r.addr
	if err := c.process.Wait(); err != nil {
		t.Fatalf("gnutls-cli: %v\n%s", err, c.output.Bytes())
	}
	return clientSays(findAnswer(t, c.output.Bytes()), bytes.Contains(c.output.Bytes(), []byte("*** This is a resumed session")))
}

// await waits until a connection waits.
func (c *gnuTLS) await(t *testing.T) {
	t.Helper()
	select {
	case <-c.asked:
	case <-c.process.Ended():
		t.Fatalf("gnutls-cli has ended: %v\n%s", c.process.Wait(), c.output.Bytes())
	case <-time.After(harness.Patience):
		t.Fatal("gnutls-cli did not connect")
	}
}

func (c *gnuTLS) start(t *testing.T, r request) {
	t.Helper()
	command := exec.Command(c.path, "--resume", "--waitresumption", "--x509cafile", c.settings.files.CA,
		"--sni-hostname", r.name, "--verify-hostname", r.name,
		"--priority", "NORMAL:-VERS-ALL:+VERS-"+strings.ReplaceAll(c.settings.versionName(), " ", "")+c.priority,
		"--port", request{addr: c.relay}.port(), "127.0.0.1")
	command.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	command.Stdout = &c.output
	c.process = harness.StartProcess(t, command)
}
