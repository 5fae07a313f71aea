package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	selfSignedLifetime = 365 * 24 * time.Hour
	selfSignedRenewal  = 30 * 24 * time.Hour
)

// SelfSigned returns the self-signed certificate that is kept in dir, for the given names and addresses. It makes one
// if there is none, if it lacks one of the names, or if it expires within a month.
func SelfSigned(dir string, names []string) (Pair, error) {
	pair := Pair{Cert: filepath.Join(dir, "self-signed.crt"), Key: filepath.Join(dir, "self-signed.key")}
	if cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key); err == nil && good(cert.Leaf, names) {
		return pair, nil
	}
	certPEM, keyPEM, err := makeSelfSigned(names)
	if err != nil {
		return Pair{}, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	// The key first: between the two writes a reader must not find a new certificate with the old key for long.
	if err := writeFile(pair.Key, keyPEM); err != nil {
		return Pair{}, err
	}
	return pair, writeFile(pair.Cert, certPEM)
}

func good(leaf *x509.Certificate, names []string) bool {
	lacks := func(name string) bool { return leaf.VerifyHostname(name) != nil }
	return time.Until(leaf.NotAfter) > selfSignedRenewal && !slices.ContainsFunc(names, lacks)
}

func makeSelfSigned(names []string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "reprise self-signed"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(selfSignedLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// writeFile replaces path as a whole, with mode 0600.
func writeFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
