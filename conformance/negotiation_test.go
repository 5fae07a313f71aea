package conformance_test

import (
	"bytes"
	"crypto/tls"
	"path/filepath"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// TestNegotiation: a session made with some settings of OpenSSL is offered with others. In TLS 1.3 only the hash of the
// suite must be the same (RFC 8446, section 4.2.11), in TLS 1.2 the suite.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	standard13, standard12, native12 := variants[0], variants[1], variants[2]
	suite13 := func(name string) []string { return []string{"-ciphersuites", name} }
	suite12 := func(name string) []string { return []string{"-cipher", name} }
	noTicket := []string{"-no_ticket"}
	for _, test := range []struct {
		name        string
		variant     variant
		made, offer []string
		reason      string
	}{
		{"other suite of the same hash", standard13, suite13("TLS_AES_128_GCM_SHA256"), suite13("TLS_CHACHA20_POLY1305_SHA256"), "resumed"},
		{"suite of another hash", standard13, suite13("TLS_AES_128_GCM_SHA256"), suite13("TLS_AES_256_GCM_SHA384"), "cipher-suite"},
		{"HelloRetryRequest", standard13, nil, []string{"-groups", "ffdhe2048:X25519"}, "resumed"},
		{"other suite", standard12, suite12("ECDHE-ECDSA-AES128-GCM-SHA256"), suite12("ECDHE-ECDSA-AES256-GCM-SHA384"), "cipher-suite"},
		{"other suite", native12, suite12("ECDHE-ECDSA-AES128-GCM-SHA256"), suite12("ECDHE-ECDSA-AES256-GCM-SHA384"), "cipher-suite"},
		{"no ticket", standard12, noTicket, noTicket, "not-offered"},
		{"session ID without ticket", native12, noTicket, noTicket, "resumed"},
	} {
		t.Run(test.variant.String()+" "+test.name, func(t *testing.T) {
			t.Parallel()
			s := settings{test.variant, harness.NewFiles(t)}
			r := request{addr: s.serve(t).Addr, name: harness.NameA}
			c := newOpenSSL(t, s)
			c.more = test.made
			c.connect(t, r).isFull(t, "not-offered")
			c.more = test.offer
			got := c.connect(t, r)
			if got.Reason != test.reason {
				t.Errorf("reason %q, want %q: %+v", got.Reason, test.reason, got.Answer)
			}
			got.agrees(t)
		})
	}
}

// withoutEMS are settings of OpenSSL that leave the extended master secret out.
const withoutEMS = `openssl_conf = main
[main]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Options = -ExtendedMasterSecret
`

// TestExtendedMasterSecret: session and ClientHello must agree about it; one way a difference is a full handshake, the
// other way the end of the connection, which costs the session nothing (RFC 7627, section 5.3).
func TestExtendedMasterSecret(t *testing.T) {
	forEachVariant(t, func(t *testing.T, s settings) {
		if s.version != tls.VersionTLS12 {
			t.Skip("TLS 1.3 has no such extension")
		}
		r := request{addr: s.serve(t).Addr, name: harness.NameA}
		config := filepath.Join(t.TempDir(), "openssl.cnf")
		harness.Write(t, config, []byte(withoutEMS))
		c := newOpenSSL(t, s)
		c.config = config
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		c.connect(t, r).isOf(t, first)

		c.config = ""
		second := c.connect(t, r)
		second.isFull(t, "extended-master-secret")
		c.connect(t, r).isOf(t, second)

		c.config = config
		if output, _ := c.run(t, request{addr: r.addr, name: r.name, keep: true}); bytes.Contains(output, []byte("HTTP/1.0 200")) {
			t.Errorf("a session with the extended master secret was accepted from a ClientHello without:\n%s", output)
		}
		c.config = ""
		c.connect(t, r).isOf(t, second)
	})
}
