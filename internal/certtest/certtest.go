// Package certtest makes certification authorities and certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// An Authority issues certificates. Its own and those that it issues are valid from an hour ago, for ten years.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       [][]byte // from this authority up to, and without, the root
}

// Shared returns a root and a server certificate of it for a.example and b.example. They are made once for all tests of
// a package.
func Shared(tb testing.TB) (*Authority, tls.Certificate) {
	tb.Helper()
	shared.once.Do(func() {
		shared.authority = NewAuthority(tb, "shared root")
		shared.server = shared.authority.Server(tb, "a.example", "b.example")
	})
	return shared.authority, shared.server
}

var shared struct {
	once      sync.Once
	authority *Authority
	server    tls.Certificate
}

// NewAuthority makes a root.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	return newAuthority(tb, name, nil)
}

// Intermediate makes an authority below a.
func (a *Authority) Intermediate(tb testing.TB, name string) *Authority {
	tb.Helper()
	return newAuthority(tb, name, a)
}

func newAuthority(tb testing.TB, name string, parent *Authority) *Authority {
	tb.Helper()
	template := newTemplate(tb, name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a := &Authority{key: newECDSAKey(tb)}
	issuer := &Authority{Certificate: template, key: a.key}
	if parent != nil {
		issuer = parent
	}
	a.Certificate = sign(tb, template, a.key.Public(), issuer)
	if parent != nil {
		a.chain = append([][]byte{a.Certificate.Raw}, parent.chain...)
	}
	return a
}

// Pool returns a pool that trusts a.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// Server issues a certificate with an ECDSA key for names, or IP addresses.
func (a *Authority) Server(tb testing.TB, names ...string) tls.Certificate {
	tb.Helper()
	return a.issue(tb, serverTemplate(tb, names), newECDSAKey(tb))
}

// ServerRSA issues a certificate with an RSA key for names.
func (a *Authority) ServerRSA(tb testing.TB, names ...string) tls.Certificate {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return a.issue(tb, serverTemplate(tb, names), key)
}

// Peer issues a certificate with an ECDSA key for names, or IP addresses, of servers that are clients of each other.
func (a *Authority) Peer(tb testing.TB, names ...string) tls.Certificate {
	tb.Helper()
	template := serverTemplate(tb, names)
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	return a.issue(tb, template, newECDSAKey(tb))
}

func serverTemplate(tb testing.TB, names []string) *x509.Certificate {
	template := newTemplate(tb, names[0])
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

// Client issues a client certificate. It is valid until notAfter, or as usual if that is zero.
func (a *Authority) Client(tb testing.TB, name string, notAfter time.Time) tls.Certificate {
	tb.Helper()
	template := newTemplate(tb, name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if !notAfter.IsZero() {
		template.NotAfter = notAfter
	}
	return a.issue(tb, template, newECDSAKey(tb))
}

func (a *Authority) issue(tb testing.TB, template *x509.Certificate, key crypto.Signer) tls.Certificate {
	tb.Helper()
	leaf := sign(tb, template, key.Public(), a)
	return tls.Certificate{Certificate: append([][]byte{leaf.Raw}, a.chain...), PrivateKey: key, Leaf: leaf}
}

func sign(tb testing.TB, template *x509.Certificate, key crypto.PublicKey, issuer *Authority) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key, issuer.key)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}

func newECDSAKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func newTemplate(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}
