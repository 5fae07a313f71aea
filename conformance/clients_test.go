package conformance_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// A program is a TLS client that nobody here wrote.
type program struct {
	name string
	// start returns a client that has no session yet. It skips the test if the program is missing.
	start func(t *testing.T, s settings) client
	// asTold tells that the test decides which session it offers, whatever the server, and with which client
	// certificate. Others keep sessions by themselves, by the address and the name of the server.
	asTold bool
	// once tells that it makes two connections in all, and asks nothing on the first.
	once bool
	// bySessionID tells that in TLS 1.2 it resumes by session IDs alone.
	bySessionID bool
	// neverTLS12 says why it does not resume in TLS 1.2 what crypto/tls gives it. Empty if it does.
	neverTLS12 string
}

// programs are all that are tried.
var programs = []program{
	{name: "openssl", start: startOpenSSL, asTold: true},
	{name: "curl", start: startCurl, bySessionID: true, neverTLS12: "it does not take tickets, and crypto/tls gives no session IDs"},
	{name: "gnutls-cli", start: startGnuTLS, once: true},
	{name: "python", start: startPython, asTold: true},
	{name: "node", start: startNode("client.js"), asTold: true},
	{name: "node agent", start: startNode("agent.js")},
	{name: "java", start: startJava, neverTLS12: "it does not take a ticket of unspecified lifetime, which is what crypto/tls gives"},
	{name: "go", start: startGo, asTold: true},
}

// A variant is what a test is run with.
type variant struct {
	version uint16
	engine  string // of the server
}

// variants are all that are tried.
var variants = []variant{
	{tls.VersionTLS13, "crypto/tls"},
	{tls.VersionTLS12, "crypto/tls"},
	{tls.VersionTLS12, "native"},
}

// versionName returns the version's name, such as "TLS 1.3".
func (v variant) versionName() string { return tls.VersionName(v.version) }

func (v variant) String() string {
	if v.engine == "native" {
		return v.versionName() + " native"
	}
	return v.versionName()
}

// engineFlags are the settings of a server that has this engine for this version. The default chooses native for TLS 1.2.
func (v variant) engineFlags() []string {
	if v.version == tls.VersionTLS12 && v.engine != "native" {
		return []string{"--engine", v.engine}
	}
	return nil
}

// forEachVariant runs a test with each variant.
func forEachVariant(t *testing.T, test func(t *testing.T, s settings)) {
	t.Parallel()
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, settings{v, harness.NewFiles(t)})
		})
	}
}

// Settings of a test.
type settings struct {
	variant
	files *harness.Files
}

// serve starts a server.
func (s settings) serve(t *testing.T, flags ...string) *harness.Server {
	t.Helper()
	return harness.StartServer(t, s.files, append(s.engineFlags(), flags...)...)
}

// A client makes connections, one after the other, and offers what sessions it has got.
type client interface {
	connect(t *testing.T, r request) result
}

// A request says where to connect.
type request struct {
	addr string // of the server, or of what is in front of it
	name string // of the server
	// keep keeps the session that is offered for the next connection, and not the one that this connection gets.
	keep bool
	// certificate is the client certificate, if there is one.
	certificate *keyPair
}

// keyPair are the paths of a certificate and its key.
type keyPair struct{ cert, key string }

func (r request) port() string {
	_, port, _ := net.SplitHostPort(r.addr)
	return port
}

// A result is what became of a connection.
type result struct {
	harness.Answer
	// answered is false if the client has asked nothing: then there is no Answer.
	answered bool
	// client is whether the client says that it has resumed: "resumed", "full", or "" if it does not say.
	client string
}

// clientSays returns a result with what the client says.
func clientSays(a harness.Answer, resumed bool) result {
	r := result{Answer: a, answered: true, client: "full"}
	if resumed {
		r.client = "resumed"
	}
	return r
}

// forEachClient runs a test with each variant and a client of each program that resumes in it, and is wanted.
func forEachClient(t *testing.T, wanted func(program) bool, test func(t *testing.T, p program, s settings)) {
	t.Parallel()
	for _, p := range programs {
		for _, v := range variants {
			if wanted != nil && !wanted(p) || p.never(v) {
				continue
			}
			t.Run(p.name+" "+v.String(), func(t *testing.T) {
				t.Parallel()
				test(t, p, settings{v, harness.NewFiles(t)})
			})
		}
	}
}

// never tells whether the program does not resume in a variant.
func (p program) never(v variant) bool {
	return p.neverTLS12 != "" && v.version == tls.VersionTLS12 && v.engine == "crypto/tls"
}

// mechanism is what the program resumes by.
func (p program) mechanism(v variant) string {
	switch {
	case v.version == tls.VersionTLS13:
		return "psk"
	case p.bySessionID:
		return "session-id"
	default:
		return "ticket"
	}
}

// isAsTold wants programs that the test can tell what to offer.
func isAsTold(p program) bool { return p.asTold }

// isFull checks that a connection made a full handshake, for a reason.
func (r result) isFull(t *testing.T, reason string) {
	t.Helper()
	if !r.answered {
		return
	}
	switch {
	case r.Resumed || r.Reason != reason || r.Mechanism != "" || r.Generation != 0:
		t.Errorf("want a full handshake because of %q: %+v", reason, r.Answer)
	case r.Session != r.NewSession:
		t.Errorf("after a full handshake, the session is the one made: %+v", r.Answer)
	}
	r.agrees(t)
}

// isResumed checks that a connection was resumed.
func (r result) isResumed(t *testing.T) {
	t.Helper()
	if !r.Resumed || r.Reason != "resumed" || r.Mechanism == "" || r.Session == "" {
		t.Errorf("want a resumption: %+v", r.Answer)
	}
	r.agrees(t)
}

// isOf checks that a connection resumed the session that the connection before has left.
func (r result) isOf(t *testing.T, before result) {
	t.Helper()
	r.isResumed(t)
	if !before.answered {
		return
	}
	session := before.NewSession
	if session == "" {
		session = before.Session
	}
	generation := before.Generation
	if r.NewSession != "" {
		generation++
	}
	if r.Session != session || r.Generation != generation {
		t.Errorf("resumed session %s, of generation %d now; want %s, %d", r.Session, r.Generation, session, generation)
	}
}

// agrees checks that client and server say the same.
func (r result) agrees(t *testing.T) {
	t.Helper()
	if r.client != "" && (r.client == "resumed") != r.Resumed {
		t.Errorf("the client says %s, the server %+v", r.client, r.Answer)
	}
}
