package native_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// fakeSigner has a public key, and signs nonsense.
type fakeSigner struct{ public crypto.PublicKey }

func (s fakeSigner) Public() crypto.PublicKey { return s.public }

func (s fakeSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 256), nil
}

// clientCertificate returns a certificate for a public key that nobody has the private key of.
func clientCertificate(t *testing.T, public crypto.PublicKey) (der []byte) {
	t.Helper()
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, public, issuer); err != nil {
		t.Fatal(err)
	}
	return der
}

// failWithClientCertificate fails the test unless a handshake with the client certificate ends in the alert.
func failWithClientCertificate(t *testing.T, der []byte, public crypto.PublicKey, alert string) {
	t.Helper()
	_, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	client := tls.Client(a, &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: fakeSigner{public}}},
	})
	go func() {
		_ = client.Handshake()
		client.Close()
	}()
	cache := newCache(t, reprise.Options{Context: []byte("test")})
	server := native.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}, cache)
	if err := server.Handshake(); err == nil || !strings.Contains(err.Error(), alert) {
		t.Errorf("handshake: %v, want the alert %s", err, alert)
	}
}

// TestLongRSAKeyOfClient: no time is spent on verifying with it.
func TestLongRSAKeyOfClient(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 16384)
	public := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	failWithClientCertificate(t, clientCertificate(t, public), public, "bad certificate")
}

// TestUnknownKeyOfClient: an RSA key for PSS alone (RFC 8017, appendix A.2.3), which crypto/x509 does not know.
func TestUnknownKeyOfClient(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 2048)
	public := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	rsaEncryption, rsassaPSS := []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a")
	der := bytes.Replace(clientCertificate(t, public), rsaEncryption, rsassaPSS, 1)
	failWithClientCertificate(t, der, public, "unsupported certificate")
}

// TestCurveOfCertificate: a client that does not support it is not served with it (RFC 8422, section 5.3).
func TestCurveOfCertificate(t *testing.T) {
	_, certificate := certtest.Shared(t) // of P-256
	for _, test := range []struct {
		groups []tls.CurveID
		ok     bool
	}{
		{[]tls.CurveID{tls.X25519, tls.CurveP256}, true},
		{[]tls.CurveID{tls.X25519}, false},
		{[]tls.CurveID{tls.CurveP384}, false},
	} {
		_, err := native.Negotiate(&tls.ClientHelloInfo{
			CipherSuites:      []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			SupportedCurves:   test.groups,
			SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			SupportedVersions: []uint16{tls.VersionTLS12},
		}, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if test.ok != (err == nil) {
			t.Errorf("groups %v: %v", test.groups, err)
		}
		if err != nil && !strings.Contains(err.Error(), "handshake failure") {
			t.Errorf("groups %v: %v, want the alert handshake failure", test.groups, err)
		}
	}
}
