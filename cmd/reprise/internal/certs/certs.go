// Package certs loads server certificates, chooses one by server name, and sees when their files change.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// A Pair names the files of one certificate, in PEM: the chain, leaf first, and its private key.
type Pair struct{ Cert, Key string }

// A Set is certificates to choose from. It is immutable and may be used from many goroutines.
type Set struct{ all []tls.Certificate }

// Load reads the certificates of pairs, of which there must be one at least.
func Load(pairs []Pair) (*Set, error) {
	if len(pairs) == 0 {
		return nil, errors.New("no certificate")
	}
	s := new(Set)
	for _, pair := range pairs {
		cert, err := load(pair)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, cert)
	}
	return s, nil
}

func load(pair Pair) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return cert, hint.With(fmt.Errorf("certificate %s with key %s: %w", pair.Cert, pair.Key, err),
			"both are PEM files; the key must be the one of the first certificate in the file, and readable for this user")
	}
	return cert, nil
}

// Configure makes a server show these certificates: to a client that asks for a name, the one that has it, an exact name before a
// wildcard; of several with the same name, the first that suits what the client supports, be it by a wildcard. If none has the name it
// is the first of all, and if the client asks for none, the first that suits.
//
// That is what crypto/tls does by itself, so config needs no GetCertificate and can be the same for all clients.
func (s *Set) Configure(config *tls.Config) {
	config.Certificates = s.all
	config.NameToCertificate = s.unique() //nolint:staticcheck // SA1019: without it, exact names are not before wildcards
}

// unique returns the certificates by name, of names that one certificate alone has. A wildcard for a name that several have is not
// among them, since it would come before these.
func (s *Set) unique() map[string]*tls.Certificate {
	byName := make(map[string]*tls.Certificate)
	var shared []string
	for i := range s.all {
		for _, name := range s.all[i].Leaf.DNSNames {
			name = strings.ToLower(name)
			if other := byName[name]; other != nil && other != &s.all[i] {
				shared = append(shared, name)
			}
			byName[name] = &s.all[i]
		}
	}
	for _, name := range shared {
		delete(byName, name)
		if _, parent, ok := strings.Cut(name, "."); ok {
			delete(byName, "*."+parent)
		}
	}
	return byName
}

// Leaves returns the leaf of each certificate.
func (s *Set) Leaves() []*x509.Certificate {
	leaves := make([]*x509.Certificate, len(s.all))
	for i := range s.all {
		leaves[i] = s.all[i].Leaf
	}
	return leaves
}

// ExpiresBefore returns the leaves that are no longer valid at t.
func (s *Set) ExpiresBefore(t time.Time) []*x509.Certificate {
	var expired []*x509.Certificate
	for _, leaf := range s.Leaves() {
		if leaf.NotAfter.Before(t) {
			expired = append(expired, leaf)
		}
	}
	return expired
}

// LoadPool reads the CA certificates of files in PEM; each file must have one at least. flag is the setting that names
// them.
func LoadPool(files []string, flag string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err == nil && !pool.AppendCertsFromPEM(pem) {
			err = fmt.Errorf("%s has no certificate in PEM", file)
		}
		if err != nil {
			return nil, hint.With(fmt.Errorf("%s: %w", flag, err), "%s names a PEM file with the certificates of the CAs", flag)
		}
	}
	return pool, nil
}
