package conformance_test

import (
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
)

// newKeyPair writes a client certificate of an authority.
func newKeyPair(t *testing.T, a *certtest.Authority) *keyPair {
	t.Helper()
	cert, key := certtest.WriteCertificate(t, a.Client(t, "client", time.Time{}))
	return &keyPair{cert, key}
}

// TestClientCertificate: connections of a client with a certificate resume.
func TestClientCertificate(t *testing.T) {
	wanted := func(p program) bool { return isAsTold(p) || p.name == "curl" }
	forEachClient(t, wanted, func(t *testing.T, p program, s settings) {
		root := certtest.NewAuthority(t, "client root")
		server := s.serve(t, "--client-ca", certtest.WriteAuthorities(t, root), "--context", "shop")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA, certificate: newKeyPair(t, root)}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		second := c.connect(t, r)
		second.isOf(t, first)
		server.Stop()
		server.Restart()
		c.connect(t, r).isOf(t, second)
	})
}

// TestOtherClientCAs: a session does not resume where other CAs are asked for, though the client has a certificate of
// one of them by now.
func TestOtherClientCAs(t *testing.T) {
	testTrustWithdrawn(t, "other client root", "scope")
}

// TestClientCAReplaced: a session does not resume when its client certificate is not verified any more: the CA has the same
// name, and another key.
func TestClientCAReplaced(t *testing.T) {
	testTrustWithdrawn(t, "client root", "client-certificate")
}

func testTrustWithdrawn(t *testing.T, newName, reason string) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		before, after := certtest.NewAuthority(t, "client root"), certtest.NewAuthority(t, newName)
		file := certtest.WriteAuthorities(t, before)
		server := s.serve(t, "--client-ca", file, "--context", "shop")
		c := p.start(t, s)
		r := request{addr: server.Addr, name: harness.NameA, certificate: newKeyPair(t, before)}
		c.connect(t, r).isFull(t, "not-offered")

		harness.Write(t, file, certtest.PEM(after))
		server.Reload()
		r.certificate = newKeyPair(t, after)
		made := c.connect(t, r)
		made.isFull(t, reason)
		c.connect(t, r).isOf(t, made)
	})
}
