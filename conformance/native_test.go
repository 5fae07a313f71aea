package conformance_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
)

// A nativeProgram is a client of TLS 1.2 that is told what to resume by.
type nativeProgram struct {
	program
	mechanism string
	// certificate tells that it can have a client certificate.
	certificate bool
}

// nativePrograms are those that are tried. What the other clients do by themselves, the other tests show.
var nativePrograms = []nativeProgram{
	{program{name: "openssl", start: startOpenSSLWithoutTickets}, "session-id", true},
	{program{name: "gnutls-cli", start: startGnuTLSWithoutTickets, once: true}, "session-id", false},
	{program{name: "python", start: startPythonWithoutTickets}, "session-id", true},
	{program{name: "node", start: startNodeWithoutTickets}, "session-id", true},
	{program{name: "java", start: startJavaWithTickets(false)}, "session-id", false},
	{program{name: "java", start: startJavaWithTickets(true)}, "ticket", false},
	{program{name: "NSS", start: startNSS()}, "session-id", false},
	{program{name: "NSS", start: startNSS("-u")}, "ticket", false},
	{program{name: "mbed TLS", start: mbedTLS.starts("ids")}, "session-id", true},
	{program{name: "mbed TLS", start: mbedTLS.starts("tickets")}, "ticket", true},
	{program{name: "wolfSSL", start: wolfSSL.starts("ids")}, "session-id", true},
	{program{name: "wolfSSL", start: wolfSSL.starts("tickets")}, "ticket", true},
}

// forEachNative runs a test with each program that is wanted.
func forEachNative(t *testing.T, wanted func(nativeProgram) bool, test func(t *testing.T, p nativeProgram, s settings)) {
	t.Parallel()
	for _, p := range nativePrograms {
		if wanted != nil && !wanted(p) {
			continue
		}
		t.Run(p.name+" "+p.mechanism, func(t *testing.T) {
			t.Parallel()
			test(t, p, settings{variant{tls.VersionTLS12, "native"}, harness.NewFiles(t)})
		})
	}
}

// hasResumed checks that a connection has resumed the session that the connection before has left, in the way that is wanted.
func (p nativeProgram) hasResumed(t *testing.T, r, before result) {
	t.Helper()
	r.isOf(t, before)
	if r.Engine != "native" || r.Mechanism != p.mechanism {
		t.Errorf("want a resumption by %s in the engine native: %+v", p.mechanism, r.Answer)
	}
}

// TestNative: sessions resume, and outlive a server that was killed.
func TestNative(t *testing.T) {
	forEachNative(t, nil, func(t *testing.T, p nativeProgram, s settings) {
		server := s.serve(t)
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA}
		last := c.connect(t, r)
		last.isFull(t, "not-offered")
		if !p.once {
			second := c.connect(t, r)
			p.hasResumed(t, second, last)
			last = second
		}
		server.AwaitStored(1)
		time.Sleep(lossAtCrash)
		server.Kill()
		server.Restart()
		p.hasResumed(t, c.connect(t, r), last)
	})
}

// TestNativeFleet: a session of one server resumes on the other.
func TestNativeFleet(t *testing.T) {
	forEachNative(t, nil, func(t *testing.T, p nativeProgram, s settings) {
		f := startFleet(t, s)
		c := p.start(t, s)
		r := request{addr: f.addr, name: harness.NameA}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		f.nodes[0].AwaitStored(1)
		f.nodes[0].Kill()
		f.to.Store(1)
		second := c.connect(t, r)
		p.hasResumed(t, second, first)
		if second.Node != "two" {
			t.Errorf("node %q has answered", second.Node)
		}
	})
}

// TestNativeClientCertificate: connections of a client with a certificate resume.
func TestNativeClientCertificate(t *testing.T) {
	wanted := func(p nativeProgram) bool { return p.certificate }
	forEachNative(t, wanted, func(t *testing.T, p nativeProgram, s settings) {
		root := certtest.NewAuthority(t, "client root")
		server := s.serve(t, "--client-ca", certtest.WriteAuthorities(t, root), "--context", "shop")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA, certificate: newKeyPair(t, root)}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		second := c.connect(t, r)
		p.hasResumed(t, second, first)
		server.Stop()
		server.Restart()
		p.hasResumed(t, c.connect(t, r), second)
	})
}

// TestReconnect: s_client -reconnect resumes by session ID each time.
func TestReconnect(t *testing.T) {
	t.Parallel()
	const reconnects = 5 // of s_client
	s := settings{variant{tls.VersionTLS12, "native"}, harness.NewFiles(t)}
	server := s.serve(t)
	c := newOpenSSL(t, s)
	c.more = []string{"-no_ticket", "-reconnect"}
	output, err := c.run(t, request{addr: server.Addr, name: harness.NameA})
	if err != nil {
		t.Fatalf("s_client: %v\n%s", err, output)
	}
	if n := bytes.Count(output, []byte("\nReused, TLSv1.2")); n != reconnects {
		t.Errorf("s_client has resumed %d of %d times:\n%s", n, reconnects, output)
	}
	if n := server.Status().Cache.Outcomes["resumed"]; n != reconnects {
		t.Errorf("the server has resumed %d of %d times", n, reconnects)
	}
	if a := findAnswer(t, output); a.Engine != "native" || a.Mechanism != "session-id" {
		t.Errorf("the last connection: %+v", a)
	}
}

func startOpenSSLWithoutTickets(t *testing.T, s settings) client {
	t.Helper()
	c := newOpenSSL(t, s)
	c.more = []string{"-no_ticket"}
	return c
}

func startGnuTLSWithoutTickets(t *testing.T, s settings) client {
	t.Helper()
	c := startGnuTLS(t, s)
	c.(*gnuTLS).priority = ":%NO_TICKETS"
	return c
}

// startPythonWithoutTickets tells libssl by its own settings: it takes them for every SSL_CTX.
func startPythonWithoutTickets(t *testing.T, s settings) client {
	t.Helper()
	config := filepath.Join(t.TempDir(), "openssl.cnf")
	harness.Write(t, config, []byte("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\nOptions = -SessionTicket\n"))
	command := exec.Command(harness.Need(t, "python3"), "testdata/client.py", scriptSettings(s))
	command.Env = append(os.Environ(), "OPENSSL_CONF="+config)
	return script{startDialog(t, command)}
}

func startNodeWithoutTickets(t *testing.T, s settings) client {
	t.Helper()
	return script{startDialog(t, exec.Command(harness.Need(t, "node"),
		"--require", "./testdata/notickets.js", filepath.Join("testdata", "client.js"), scriptSettings(s)))}
}

// startJavaWithTickets sets what Java calls the extension, which some of its versions have on and some off.
func startJavaWithTickets(offered bool) func(t *testing.T, s settings) client {
	return func(t *testing.T, s settings) client {
		t.Helper()
		return startJavaWith(t, s, fmt.Sprintf("-Djdk.tls.client.enableSessionTicketExtension=%t", offered))
	}
}

// nss is tstclnt, one process for all connections. It connects to a relay, as it connects again by itself, at once.
type nss struct {
	path     string
	settings settings
	more     []string // arguments
	relay    string
	where    chan string // gets the address where the next connection goes
	dialog   *dialog     // nil before the first connection
}

func startNSS(more ...string) func(t *testing.T, s settings) client {
	return func(t *testing.T, s settings) client {
		t.Helper()
		c := &nss{path: harness.Need(t, "tstclnt"), settings: s, more: more, where: make(chan string)}
		c.relay = harness.Relay(t, func() string {
			select {
			case addr := <-c.where:
				return addr
			case <-t.Context().Done():
				return ""
			}
		})
		return c
	}
}

func (c *nss) connect(t *testing.T, r request) result {
	t.Helper()
	if c.dialog == nil {
		c.dialog = startDialog(t, c.command(t, r))
	}
	select {
	case c.where <- r.addr:
	case <-c.dialog.process.Ended():
		t.Fatalf("tstclnt has ended: %v", c.dialog.process.Wait())
	}
	for {
		if line := c.dialog.next(t); answerLine.Match(line) {
			return result{Answer: parseAnswer(t, line), answered: true}
		}
	}
}

func (c *nss) command(t *testing.T, r request) *exec.Cmd {
	t.Helper()
	database := "sql:" + t.TempDir()
	c.certutil(t, "-N", "-d", database, "--empty-password")
	c.certutil(t, "-A", "-d", database, "-n", "root", "-t", "C,,", "-i", c.settings.files.CA)
	get := filepath.Join(t.TempDir(), "request")
	harness.Write(t, get, []byte("GET / HTTP/1.0\r\n\r\n"))
	const connections = "100"
	return exec.Command(c.path, append(c.more, "-h", "127.0.0.1", "-p", request{addr: c.relay}.port(), "-a", r.name,
		"-d", database, "-V", "tls1.2:tls1.2", "-A", get, "-L", connections)...)
}

func (c *nss) certutil(t *testing.T, args ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), harness.Need(t, "certutil"), args...).CombinedOutput(); err != nil {
		t.Fatalf("certutil %q: %v\n%s", args, err, output)
	}
}

// A library is one that there is a client of ours for, in C.
type library struct {
	source, header string
	flags          []string
	build          func() (path string, err error)
}

var (
	mbedTLS = newLibrary("testdata/mbedtls.c", "mbedtls/ssl.h", "-lmbedtls", "-lmbedx509", "-lmbedcrypto")
	wolfSSL = newLibrary("testdata/wolfssl.c", "wolfssl/ssl.h", "-lwolfssl")
)

func newLibrary(source, header string, flags ...string) *library {
	l := &library{source: source, header: header, flags: flags}
	l.build = sync.OnceValues(func() (path string, err error) {
		path = filepath.Join(harness.Shared(), strings.TrimSuffix(filepath.Base(source), ".c"))
		args := append([]string{"-O1", "-Wall", "-Wextra", "-o", path, source}, flags...)
		if output, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("cc %q: %w\n%s", args, err, output)
		}
		return path, nil
	})
	return l
}

// starts returns what starts a client, which offers "ids" or "tickets".
func (l *library) starts(offers string) func(t *testing.T, s settings) client {
	return func(t *testing.T, s settings) client {
		t.Helper()
		l.need(t)
		path, err := l.build()
		if err != nil {
			t.Fatal(err)
		}
		return &cClient{path: path, args: []string{s.files.CA, offers}}
	}
}

// need skips the test if the library's headers are missing. With CI set it fails.
func (l *library) need(t *testing.T) {
	t.Helper()
	preprocess := exec.CommandContext(t.Context(), harness.Need(t, "cc"), "-E", "-")
	preprocess.Stdin = strings.NewReader("#include <" + l.header + ">\n")
	if preprocess.Run() == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; with CI set, all that scripts/install-test-deps.sh installs must be there", l.header)
	}
	t.Skipf("%s is missing; scripts/install-test-deps.sh says how to install it", l.header)
}

// A cClient is one process for all connections.
type cClient struct {
	path   string
	args   []string
	dialog *dialog // nil before the first connection
}

func (c *cClient) connect(t *testing.T, r request) result {
	t.Helper()
	if c.dialog == nil {
		if r.certificate != nil {
			c.args = append(c.args, r.certificate.cert, r.certificate.key)
		}
		c.dialog = startDialog(t, exec.Command(c.path, c.args...))
	}
	says, answer, _ := strings.Cut(string(c.dialog.ask(t, r.port()+" "+r.name)), "{")
	return result{Answer: parseAnswer(t, []byte("{"+answer)), answered: true, client: strings.TrimSpace(says)}
}
