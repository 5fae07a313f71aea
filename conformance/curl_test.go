package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// curl is one process for all connections, since it keeps its sessions in memory. It asks a server of the test, over and
// over, and is redirected to where it is to connect.
type curl struct {
	path     string
	settings settings
	dialog   *dialog // nil before the first connection

	hook  *httptest.Server
	where chan string
}

func startCurl(t *testing.T, s settings) client {
	t.Helper()
	c := &curl{path: harness.Need(t, "curl"), settings: s, where: make(chan string)}
	c.hook = httptest.NewServer(http.HandlerFunc(c.redirect))
	t.Cleanup(c.hook.Close)
	return c
}

func (c *curl) redirect(w http.ResponseWriter, r *http.Request) {
	select {
	case url := <-c.where:
		http.Redirect(w, r, url, http.StatusFound)
	case <-r.Context().Done():
	}
}

func (c *curl) connect(t *testing.T, r request) result {
	t.Helper()
	if c.dialog == nil {
		c.dialog = startDialog(t, exec.Command(c.path, c.args(r)...))
	}
	select {
	case c.where <- "https://" + r.name + ":" + r.port() + "/":
	case <-c.dialog.process.Ended():
		t.Fatalf("curl has ended: %v", c.dialog.process.Wait())
	}
	return result{Answer: parseAnswer(t, c.dialog.next(t)), answered: true}
}

func (c *curl) args(r request) []string {
	args := []string{
		"--silent", "--show-error", "--no-buffer", "--fail-early", "--http1.1", "--header", "Connection: close",
		"--location", "--connect-to", "::127.0.0.1:", "--cacert", c.settings.files.CA,
		"--tls-max", strings.TrimPrefix(c.settings.versionName(), "TLS "),
	}
	if r.certificate != nil {
		args = append(args, "--cert", r.certificate.cert, "--key", r.certificate.key)
	}
	return append(args, c.hook.URL+"/[1-100]")
}
