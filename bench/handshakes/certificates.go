package main

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
	"time"
)

const serverName = "bench.example"

// certificates are the keys and certificates of one run.
type certificates struct {
	root   *x509.Certificate
	server map[string]tls.Certificate // by the kind of their key
	client tls.Certificate            // with a chain of three, below the root
}

// Kinds of server keys.
const (
	ecdsaKey = "ECDSA P-256"
	rsaKey   = "RSA-2048"
)

func makeCertificates() (*certificates, error) {
	root, err := issue(nil, "root", nil)
	if err != nil {
		return nil, err
	}
	c := &certificates{root: root.Leaf, server: make(map[string]tls.Certificate)}
	for kind, makeKey := range map[string]func() (crypto.Signer, error){
		ecdsaKey: newECDSAKey,
		rsaKey:   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	} {
		key, err := makeKey()
		if err != nil {
			return nil, err
		}
		if c.server[kind], err = issue(&root, serverName, key); err != nil {
			return nil, err
		}
	}
	upper, err := issue(&root, "upper authority", nil)
	if err != nil {
		return nil, err
	}
	lower, err := issue(&upper, "lower authority", nil)
	if err != nil {
		return nil, err
	}
	key, err := newECDSAKey()
	if err != nil {
		return nil, err
	}
	c.client, err = issue(&lower, "client", key)
	return c, err
}

// issue issues a certificate for key, or for a new authority if key is nil. Its chain is complete but for the root.
func issue(issuer *tls.Certificate, name string, key crypto.Signer) (tls.Certificate, error) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if key == nil {
		var err error
		if key, err = newECDSAKey(); err != nil {
			return tls.Certificate{}, err
		}
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	parent, parentKey := template, crypto.PrivateKey(key)
	if issuer != nil {
		parent, parentKey = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	chain := [][]byte{der}
	if issuer != nil && !isRoot(issuer.Leaf) {
		chain = append(chain, issuer.Certificate...)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, err
}

func isRoot(c *x509.Certificate) bool { return c.Issuer.CommonName == c.Subject.CommonName }

func newECDSAKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
