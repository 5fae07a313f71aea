package harness

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/reprise-tls/reprise/internal/certtest"
)

// Names that the certificate of the servers is for.
const (
	NameA = "a.example"
	NameB = "b.example"
)

// Files are the paths of PEM files.
type Files struct {
	// CA is the root that clients trust.
	CA string
	// Cert and Key are those of the servers, for NameA and NameB.
	Cert, Key string
}

// NewFiles writes the files. They are of one root for all tests.
func NewFiles(t *testing.T) *Files {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	cert, key := WriteCertificate(t, certificate)
	return &Files{CA: WriteAuthorities(t, authority), Cert: cert, Key: key}
}

// WriteAuthorities writes the certificates of authorities into a file.
func WriteAuthorities(t *testing.T, authorities ...*certtest.Authority) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "ca.pem")
	Write(t, file, PEM(authorities...))
	return file
}

// PEM returns the certificates of authorities.
func PEM(authorities ...*certtest.Authority) (encoded []byte) {
	for _, a := range authorities {
		encoded = append(encoded, encodePEM("CERTIFICATE", a.Certificate.Raw)...)
	}
	return encoded
}

// WriteCertificate writes a chain and its key into a file each.
func WriteCertificate(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, encodePEM("CERTIFICATE", der)...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	Write(t, cert, chain)
	Write(t, key, encodePEM("PRIVATE KEY", private))
	return cert, key
}

// Write writes a file that only its owner can read.
func Write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Read returns the content of a file, empty if it is not there.
func Read(file string) string {
	content, _ := os.ReadFile(file)
	return string(content)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
