package native_test

import (
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

// TestLongRSAKeyOfClient: no time is spent on verifying with it.
func TestLongRSAKeyOfClient(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 16384)
	public := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, issuer)
	if err != nil {
		t.Fatal(err)
	}
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
	if err := server.Handshake(); err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("handshake: %v, want the alert bad certificate", err)
	}
}
