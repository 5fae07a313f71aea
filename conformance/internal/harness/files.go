package harness

import (
	"os"
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
	cert, key := certtest.WriteCertificate(t, certificate)
	return &Files{CA: certtest.WriteAuthorities(t, authority), Cert: cert, Key: key}
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
