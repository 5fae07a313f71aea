package reprise_test

import (
	"crypto/tls"
	"testing"

	"github.com/reprise-tls/reprise"
)

// TestScopeHasEachPart: whatever a session must not cross makes another scope, and nothing else does.
func TestScopeHasEachPart(t *testing.T) {
	_, cas := selfSigned(t, "ca.example")
	_, otherCAs := selfSigned(t, "other.example")
	info := reprise.ConnectionInfo{
		Context: []byte("shop"), ServerName: "www.example", ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: cas,
	}
	for _, test := range []struct {
		name   string
		change func(*reprise.ConnectionInfo)
		same   bool
	}{
		{"context", func(i *reprise.ConnectionInfo) { i.Context = []byte("mail") }, false},
		{"no context", func(i *reprise.ConnectionInfo) { i.Context = nil }, false},
		{"transport", func(i *reprise.ConnectionInfo) { i.Transport = reprise.QUIC }, false},
		{"server name", func(i *reprise.ConnectionInfo) { i.ServerName = "mail.example" }, false},
		{"no server name", func(i *reprise.ConnectionInfo) { i.ServerName = "" }, false},
		{"spelling of the server name", func(i *reprise.ConnectionInfo) { i.ServerName = "WWW.Example." }, true},
		{"policy for client certificates", func(i *reprise.ConnectionInfo) { i.ClientAuth = tls.VerifyClientCertIfGiven }, false},
		{"no client certificates", func(i *reprise.ConnectionInfo) { i.ClientAuth = tls.NoClientCert }, false},
		{"client CAs", func(i *reprise.ConnectionInfo) { i.ClientCAs = otherCAs }, false},
		{"copy of the client CAs", func(i *reprise.ConnectionInfo) { i.ClientCAs = cas.Clone() }, true},
		{"a byte from one part to the next", func(i *reprise.ConnectionInfo) { i.Context, i.ServerName = []byte("shopw"), "ww.example" }, false},
	} {
		changed := info
		test.change(&changed)
		if same := reprise.ScopeOf(changed) == reprise.ScopeOf(info); same != test.same {
			t.Errorf("%s: the same scope %v, want %v", test.name, same, test.same)
		}
	}
	plain := reprise.ConnectionInfo{ServerName: "www.example"}
	withCAs := plain
	withCAs.ClientCAs = cas
	if reprise.ScopeOf(plain) != reprise.ScopeOf(withCAs) {
		t.Error("client CAs that nobody is asked for change the scope")
	}
}
