package sslsession_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/sslsession"
)

const sessionContext = "conformance"

// suiteOf has a cipher suite for each version.
var suiteOf = map[uint16]uint16{
	tls.VersionTLS12: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.VersionTLS13: tls.TLS_AES_128_GCM_SHA256,
}

// sessionParams returns a session as a server could have made it a minute ago.
func sessionParams(t *testing.T, version, suite uint16) reprise.SessionParams {
	t.Helper()
	secret := make([]byte, 48)
	if version == tls.VersionTLS13 && suite != tls.TLS_AES_256_GCM_SHA384 {
		secret = secret[:32]
	}
	rand.Read(secret)
	id := make([]byte, 32)
	rand.Read(id)
	sessionID, err := reprise.MakeSessionID(id)
	if err != nil {
		t.Fatal(err)
	}
	return reprise.SessionParams{
		ID:                   sessionID,
		Version:              version,
		CipherSuite:          suite,
		Group:                tls.X25519,
		Secret:               secret,
		ExtendedMasterSecret: version == tls.VersionTLS12,
		Created:              time.Now().Add(-time.Minute),
		Timeout:              time.Hour,
		Context:              []byte(sessionContext),
		Scope:                reprise.Scope{1, 2, 3},
		ServerName:           harness.NameA,
		TicketAgeAdd:         0x12345678,
	}
}

func newSession(t *testing.T, p reprise.SessionParams) *reprise.Session {
	t.Helper()
	s, err := reprise.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fromSession(t *testing.T, s *reprise.Session) *sslsession.SSLSession {
	t.Helper()
	x, err := sslsession.FromSession(s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// clientSide returns what a client would have of a session. It would offer an expired one too.
func clientSide(x *sslsession.SSLSession) *sslsession.SSLSession {
	c := *x
	c.PeerCertificate, c.VerifyResult, c.SessionIDContext, c.TicketAppData = nil, 0, nil, nil
	if c.Version == tls.VersionTLS13 {
		id := sha256.Sum256(x.SessionID)
		c.Ticket, c.SessionID, c.TicketLifetimeHint = x.SessionID, id[:], 7*24*3600
	}
	return &c
}

// settingsOf are those by which both sides choose the version, and in TLS 1.3 the suite, of a session.
func settingsOf(x *sslsession.SSLSession) []string {
	if x.Version == tls.VersionTLS12 {
		return []string{"version=1.2"}
	}
	return []string{"version=1.3", "suite=" + suites[x.CipherSuite]}
}

// resume has a libssl server with the session x, and a libssl client with its side of it, make a connection.
func resume(t *testing.T, files *harness.Files, x *sslsession.SSLSession, serverSettings, clientSettings []string) (server, client report) {
	t.Helper()
	return resumeAs(t, files, x, clientSide(x), serverSettings, clientSettings)
}

// resumeAs is resume with another client's side.
func resumeAs(t *testing.T, files *harness.Files, x, clientSide *sslsession.SSLSession, serverSettings, clientSettings []string) (server, client report) {
	t.Helper()
	common := settingsOf(x)
	serverSettings = append(append(serverSettings, common...), "cert="+files.Cert, "key="+files.Key)
	clientSettings = append(append(clientSettings, common...), "name="+harness.NameA)
	a, b := newPair(t)
	s := startPeer(t, "server", a, [][]byte{marshal(t, x)}, serverSettings...)
	c := startPeer(t, "client", b, [][]byte{marshal(t, clientSide)}, clientSettings...)
	client, server = c.wait(), s.wait()
	if server.err != "" || client.err != "" {
		t.Fatalf("server: %s; client: %s", server.err, client.err)
	}
	if server.resumed != client.resumed {
		t.Fatalf("server resumed: %v, client: %v", server.resumed, client.resumed)
	}
	return server, client
}

// TestLibsslResumesWhatWeWrote: a server whose get callback returns what we made of a reprise.Session.
func TestLibsslResumesWhatWeWrote(t *testing.T) {
	files := harness.NewFiles(t)
	for _, c := range []struct {
		name           string
		version, suite uint16
		change         func(*reprise.SessionParams)
		settings       []string // of the client
	}{
		{name: "TLS 1.2", version: tls.VersionTLS12, suite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		{
			name: "TLS 1.2 without extended master secret", version: tls.VersionTLS12, suite: tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			change:   func(p *reprise.SessionParams) { p.ExtendedMasterSecret = false },
			settings: []string{"ems=0"},
		},
		{
			name: "TLS 1.2 with ID of 16 bytes", version: tls.VersionTLS12, suite: tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			change: func(p *reprise.SessionParams) { p.ID, _ = reprise.MakeSessionID([]byte("sixteen bytes...")) },
		},
		{
			name: "TLS 1.2 with ALPN and application data", version: tls.VersionTLS12, suite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			change: func(p *reprise.SessionParams) {
				p.ALPN, p.ApplicationData = "h2", [][]byte{make([]byte, 10000)}
			},
			settings: []string{"alpn=h2"},
		},
		{name: "TLS 1.3 with SHA-256", version: tls.VersionTLS13, suite: tls.TLS_AES_128_GCM_SHA256},
		{name: "TLS 1.3 with SHA-384", version: tls.VersionTLS13, suite: tls.TLS_AES_256_GCM_SHA384},
		{
			name: "TLS 1.3 with ALPN, for single use", version: tls.VersionTLS13, suite: tls.TLS_CHACHA20_POLY1305_SHA256,
			change:   func(p *reprise.SessionParams) { p.ALPN, p.SingleUse = "h2", true },
			settings: []string{"alpn=h2"},
		},
		{
			name: "TLS 1.3 with extended master secret, which does not exist", version: tls.VersionTLS13, suite: tls.TLS_AES_128_GCM_SHA256,
			change: func(p *reprise.SessionParams) { p.ExtendedMasterSecret = true },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sessionParams(t, c.version, c.suite)
			if c.change != nil {
				c.change(&p)
			}
			server, client := resume(t, files, fromSession(t, newSession(t, p)), []string{"context=" + sessionContext}, c.settings)
			if !server.resumed || server.found == 0 {
				t.Errorf("not resumed: server %+v, client %+v", server, client)
			}
			if want := tls.VersionName(c.version); "TLSv"+want[len("TLS "):] != server.version {
				t.Errorf("version %s, want %s", server.version, want)
			}
		})
	}
}

// TestLibsslResumesClientCertificate: the certificate comes along; that it was verified does not, unless somebody says so.
func TestLibsslResumesClientCertificate(t *testing.T) {
	files := harness.NewFiles(t)
	authority, _ := certtest.Shared(t)
	chain := authority.Intermediate(t, "intermediate").Client(t, "client", time.Time{}).Certificate
	for version, suite := range suiteOf {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p := sessionParams(t, version, suite)
			p.PeerCertificates = chain
			x := fromSession(t, newSession(t, p))
			for _, verifyResult := range []struct {
				value int32
				shown string
			}{{x.VerifyResult, "1"}, {0, "0"}} {
				x.VerifyResult = verifyResult.value
				server, _ := resume(t, files, x, []string{"context=" + sessionContext, "ca=" + files.CA}, nil)
				if !server.resumed || !bytes.Equal(server.peer, chain[0]) || server.verify != verifyResult.shown {
					t.Errorf("resumed %v, verify result %s, want %s", server.resumed, server.verify, verifyResult.shown)
				}
			}
		})
	}
}

// TestLibsslAcceptsEarlyData: by the age of the session, what is added to it, and ALPN, which all must be right.
func TestLibsslAcceptsEarlyData(t *testing.T) {
	files := harness.NewFiles(t)
	p := sessionParams(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	p.ALPN, p.MaxEarlyData = "h2", 16384
	x := fromSession(t, newSession(t, p))
	withEarlyData := []string{"context=" + sessionContext, "early=1"}
	if server, client := resume(t, files, x, withEarlyData, []string{"alpn=h2", "early=1"}); !server.resumed || !server.early || !client.early {
		t.Errorf("server: resumed %v, early data %v; client: early data %v", server.resumed, server.early, client.early)
	}
	x.ALPN = []byte("http/1.1")
	client := clientSide(x)
	client.ALPN = []byte("h2")
	if server, _ := resumeAs(t, files, x, client, withEarlyData, []string{"alpn=h2", "early=1"}); !server.resumed || server.early {
		t.Errorf("with other ALPN: resumed %v, early data %v", server.resumed, server.early)
	}
}

// TestLibsslDeclines: the same sessions, where they must not resume. Without this the tests above would prove little.
func TestLibsslDeclines(t *testing.T) {
	files := harness.NewFiles(t)
	for name, c := range map[string]struct {
		change  func(*reprise.SessionParams)
		context string
	}{
		"another context": {func(*reprise.SessionParams) {}, "another"},
		"expired":         {func(p *reprise.SessionParams) { p.Timeout = 30 * time.Second }, sessionContext},
		"end of lineage":  {endedLineage, sessionContext},
		"no context":      {func(p *reprise.SessionParams) { p.Context = nil }, sessionContext},
	} {
		for version, suite := range suiteOf {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				p := sessionParams(t, version, suite)
				c.change(&p)
				server, _ := resume(t, files, fromSession(t, newSession(t, p)), []string{"context=" + c.context}, nil)
				if server.resumed || server.found == 0 {
					t.Errorf("resumed %v, found %d", server.resumed, server.found)
				}
			})
		}
	}
}

// endedLineage gives a session whose timeout is an hour a lineage that has ended.
func endedLineage(p *reprise.SessionParams) {
	p.Lineage = reprise.Lineage{ID: [16]byte{1}, Start: p.Created.Add(-time.Hour), End: p.Created.Add(30 * time.Second)}
}

// TestLineageSurvivesLibssl: a libssl server resumes one of our TLS 1.3 sessions and makes new ones; these come back to us.
func TestLineageSurvivesLibssl(t *testing.T) {
	files := harness.NewFiles(t)
	p := sessionParams(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	p.Lineage = reprise.Lineage{ID: [16]byte{1}, Start: p.Created.Add(-time.Hour), End: p.Created.Add(50 * time.Minute), Generation: 3}
	p.ApplicationData = [][]byte{[]byte("application")}
	ours := newSession(t, p)
	server, _ := resume(t, files, fromSession(t, ours), []string{"context=" + sessionContext}, nil)
	if !server.resumed || len(server.sessions) != 1 {
		t.Fatalf("resumed %v, new sessions %d", server.resumed, len(server.sessions))
	}
	x, _, err := sslsession.Parse(server.sessions[0])
	if err != nil {
		t.Fatal(err)
	}
	s, err := sslsession.ToSession(x, sslsession.Foreign{})
	if err != nil {
		t.Fatal(err)
	}
	got, want := s.Lineage(), ours.Lineage()
	if got.ID != want.ID || !got.Start.Equal(want.Start) || !got.End.Equal(want.End) || got.Generation != want.Generation+1 {
		t.Errorf("lineage %+v, want the next generation of %+v", got, want)
	}
	if s.Scope() != ours.Scope() || s.ID() == ours.ID() || bytes.Equal(s.Secret(), ours.Secret()) || s.ServerName() != harness.NameA {
		t.Errorf("scope %v, server name %q; the same ID: %v", s.Scope(), s.ServerName(), s.ID() == ours.ID())
	}
	if age := time.Since(s.Created()); age < 0 || age > patience || s.Expiry().After(want.End) {
		t.Errorf("created %v ago, ends %v after its lineage", age, s.Expiry().Sub(want.End))
	}
}
