package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// openSSL is s_client, a process for each connection. The session lies in a file between them.
type openSSL struct {
	path     string
	settings settings
	session  string

	more   []string // arguments
	config string   // file of OpenSSL's settings; empty for the usual one
}

func startOpenSSL(t *testing.T, s settings) client {
	return newOpenSSL(t, s)
}

func newOpenSSL(t *testing.T, s settings) *openSSL {
	t.Helper()
	return &openSSL{path: harness.Need(t, "openssl"), settings: s, session: filepath.Join(t.TempDir(), "session.pem")}
}

func (c *openSSL) connect(t *testing.T, r request) result {
	t.Helper()
	output, err := c.run(t, r)
	if err != nil {
		t.Fatalf("s_client: %v\n%s", err, output)
	}
	return openSSLResult(t, output)
}

// run makes a connection and returns what s_client printed.
func (c *openSSL) run(t *testing.T, r request) ([]byte, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.path, append(c.args(r), "-ign_eof")...)
	command.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	if c.config != "" {
		command.Env = append(os.Environ(), "OPENSSL_CONF="+c.config)
	}
	return command.CombinedOutput()
}

// args returns the arguments for a connection that offers the session in the file, if there is one.
func (c *openSSL) args(r request) []string {
	args := []string{
		"s_client", "-connect", r.addr, "-servername", r.name,
		"-CAfile", c.settings.files.CA, "-verify_return_error", "-verify_hostname", r.name,
		strings.NewReplacer("TLS ", "-tls", ".", "_").Replace(c.settings.versionName()),
	}
	if _, err := os.Stat(c.session); err == nil {
		args = append(args, "-sess_in", c.session)
	}
	if !r.keep {
		args = append(args, "-sess_out", c.session)
	}
	if r.certificate != nil {
		args = append(args, "-cert", r.certificate.cert, "-key", r.certificate.key)
	}
	return append(args, c.more...)
}

// outcomeLine is what s_client prints about a connection.
var outcomeLine = regexp.MustCompile(`(?m)^(New|Reused), TLSv1`)

func openSSLResult(t *testing.T, output []byte) result {
	t.Helper()
	outcome := outcomeLine.FindSubmatch(output)
	if outcome == nil {
		t.Fatalf("s_client does not say whether it has resumed:\n%s", output)
	}
	return clientSays(findAnswer(t, output), string(outcome[1]) == "Reused")
}
