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
type Set struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate // in lower case, wildcards as they are
}

// Load reads the certificates of pairs, of which there must be one at least.
func Load(pairs []Pair) (*Set, error) {
	if len(pairs) == 0 {
		return nil, errors.New("no certificate")
	}
	s := &Set{byName: make(map[string][]*tls.Certificate)}
	for _, pair := range pairs {
		cert, err := load(pair)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, cert)
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], cert)
		}
	}
	return s, nil
}

func load(pair Pair) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, hint.With(fmt.Errorf("certificate %s with key %s: %w", pair.Cert, pair.Key, err),
			"both are PEM files; the key must be the one of the first certificate in the file, and readable for this user")
	}
	return &cert, nil
}

// Choose returns the certificate for a ClientHello. It is for [tls.Config.GetCertificate]. Among the certificates with
// the server name, an exact one before a wildcard, it takes the first that suits the client's signature algorithms.
// Without any, it is the first of all.
func (s *Set) Choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	candidates := s.byName[name]
	if _, parent, ok := strings.Cut(name, "."); ok {
		candidates = append(candidates[:len(candidates):len(candidates)], s.byName["*."+parent]...)
	}
	if len(candidates) == 0 {
		candidates = s.all
	}
	for _, cert := range candidates {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return candidates[0], nil
}

// Leaves returns the leaf of each certificate.
func (s *Set) Leaves() []*x509.Certificate {
	leaves := make([]*x509.Certificate, len(s.all))
	for i, cert := range s.all {
		leaves[i] = cert.Leaf
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
