package certtest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

// WriteAuthorities writes the certificates of authorities into a file.
func WriteAuthorities(tb testing.TB, authorities ...*Authority) (file string) {
	tb.Helper()
	file = filepath.Join(tb.TempDir(), "ca.pem")
	write(tb, file, PEM(authorities...))
	return file
}

// PEM returns the certificates of authorities.
func PEM(authorities ...*Authority) (encoded []byte) {
	for _, a := range authorities {
		encoded = append(encoded, encodePEM("CERTIFICATE", a.Certificate.Raw)...)
	}
	return encoded
}

// WriteCertificate writes a chain and its key into a file each.
func WriteCertificate(tb testing.TB, c tls.Certificate) (cert, key string) {
	tb.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, encodePEM("CERTIFICATE", der)...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(tb, cert, chain)
	write(tb, key, encodePEM("PRIVATE KEY", private))
	return cert, key
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write writes a file that only its owner can read.
func write(tb testing.TB, file string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		tb.Fatal(err)
	}
}
