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
	"errors"
	"io"
	"math/big"
	"net"
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

// verdict is what a server makes of a client's certificate.
type verdict struct {
	accepted     bool
	alert        string // that the client gets
	certificates int
	chains       int
}

// judge makes a handshake with a server.
func judge(t *testing.T, server interface {
	net.Conn
	Handshake() error
	ConnectionState() tls.ConnectionState
}, client *tls.Conn,
) (v verdict) {
	t.Helper()
	read := make(chan error, 1)
	go func() {
		_, err := client.Read(make([]byte, 1))
		client.Close()
		read <- err
	}()
	v.accepted = server.Handshake() == nil
	state := server.ConnectionState()
	if v.accepted {
		v.certificates, v.chains = len(state.PeerCertificates), len(state.VerifiedChains)
		server.Close()
	}
	if err := <-read; !errors.Is(err, io.EOF) {
		v.alert = err.Error()
	}
	server.Close()
	return v
}

// TestClientCertificatesAsStandard: each policy judges each certificate as crypto/tls does.
func TestClientCertificatesAsStandard(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	other := certtest.NewAuthority(t, "other")
	chain := authority.Intermediate(t, "intermediate").Client(t, "client", time.Time{})
	alone := chain
	alone.Certificate = chain.Certificate[:1]
	foreignKey := authority.Client(t, "client", time.Time{})
	foreignKey.PrivateKey = other.Client(t, "client", time.Time{}).PrivateKey
	clients := map[string]*tls.Certificate{
		"none":                 {},
		"good":                 pointer(authority.Client(t, "client", time.Time{})),
		"good chain":           &chain,
		"without intermediate": &alone,
		"of another authority": pointer(other.Client(t, "client", time.Time{})),
		"expired":              pointer(authority.Client(t, "client", time.Now().Add(-time.Minute))),
		"of a server":          &certificate,
		"another's key":        &foreignKey,
	}
	for name, shown := range clients {
		for policy := tls.NoClientCert; policy <= tls.RequireAndVerifyClientCert; policy++ {
			for _, accepts := range []bool{true, false} {
				if name == "another's key" && !accepts {
					continue // crypto/tls asks VerifyConnection before the client has proved that it has the key
				}
				config := &tls.Config{
					Certificates: []tls.Certificate{certificate}, ClientAuth: policy, ClientCAs: authority.Pool(), MaxVersion: tls.VersionTLS12,
					VerifyConnection: func(tls.ConnectionState) error {
						if accepts {
							return nil
						}
						return errors.New("the application says no")
					},
				}
				client := func(conn net.Conn) *tls.Conn {
					return tls.Client(conn, &tls.Config{
						RootCAs: authority.Pool(), ServerName: "a.example",
						GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil },
					})
				}
				a, b := tcpPair(t)
				want := judge(t, tls.Server(b, config), client(a))
				a, b = tcpPair(t)
				got := judge(t, native.Server(b, config, newCache(t, reprise.Options{Context: []byte("test")})), client(a))
				if got != want {
					t.Errorf("certificate %s, %v, VerifyConnection %v: %+v, want %+v", name, policy, accepts, got, want)
				}
			}
		}
	}
}

func pointer(c tls.Certificate) *tls.Certificate { return &c }
