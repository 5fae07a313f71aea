package sessions_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"unicode"

	"github.com/reprise-tls/reprise"
)

// TestTextOfClientsIsPrintable: what a client has said reaches no terminal as commands.
func TestTextOfClientsIsPrintable(t *testing.T) {
	const escape = "\x1b]0;owned\x07\u009b2J"
	l := newLive(t, 0)
	if err := l.Cache.SetContext([]byte(escape)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Cache.Accept(t.Context(), reprise.ConnectionInfo{ServerName: escape, RemoteAddr: &net.TCPAddr{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.NewSession(reprise.SessionParams{
		Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Secret: make([]byte, 48), ALPN: escape,
		PeerCertificates: [][]byte{certificateOf(t, pkix.Name{CommonName: escape})},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
	d := one(t, l).Details
	for what, text := range map[string]string{
		"server name": d.ServerName, "ALPN": d.ALPN, "context": d.Context, "client certificate": d.ClientCertificate,
	} {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", what, text)
		}
	}
}

// certificateOf returns a certificate with the subject.
func certificateOf(t *testing.T, subject pkix.Name) (der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return der
}
