package reprise

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unique"
)

// A chainVerifier verifies the client chains of sessions again, against the roots and the time of the connection that
// wants to resume. A chain that was verified is not verified again while nothing has changed that could matter.
type chainVerifier struct {
	mu       sync.Mutex
	verified map[verifiedKey]*verifiedChain
}

// maxVerifiedChains bounds the memory of a chainVerifier.
const maxVerifiedChains = 1024

type verifiedKey struct {
	chain unique.Handle[string]
	roots *x509.CertPool
}

type verifiedChain struct {
	roots    *x509.CertPool // a copy: the pool may have changed since
	chains   [][]*x509.Certificate
	from, to time.Time // within which all certificates of all chains are valid
}

// verify returns the verified chains of the client certificate, whose DER is given leaf first.
func (v *chainVerifier) verify(chain unique.Handle[string], roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	key := verifiedKey{chain, roots}
	v.mu.Lock()
	known := v.verified[key]
	v.mu.Unlock()
	if known != nil && known.stillGood(roots, now) {
		return known.chains, nil
	}
	fresh, err := verifyChain(chain, roots, now)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		delete(v.verified, key)
		return nil, err
	}
	if v.verified == nil || len(v.verified) >= maxVerifiedChains {
		v.verified = make(map[verifiedKey]*verifiedChain)
	}
	v.verified[key] = fresh
	return fresh.chains, nil
}

func (k *verifiedChain) stillGood(roots *x509.CertPool, now time.Time) bool {
	return !now.Before(k.from) && !now.After(k.to) && (k.roots == roots || roots != nil && roots.Equal(k.roots))
}

// verifyChain verifies as crypto/tls does in a full handshake.
func verifyChain(chain unique.Handle[string], roots *x509.CertPool, now time.Time) (*verifiedChain, error) {
	certificates, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	chains, err := certificates[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("reprise: client certificate of the session: %w", err)
	}
	k := &verifiedChain{chains: chains}
	if roots != nil {
		k.roots = roots.Clone()
	}
	k.from, k.to = validity(slices.Concat(chains...))
	return k, nil
}

func parseChain(chain unique.Handle[string]) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for _, der := range decodeVectors24(chain.Value()) {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reprise: client certificate of the session: %w", err)
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, errors.New("reprise: session without client certificate")
	}
	return certificates, nil
}

// validity returns the time within which all certificates are valid.
func validity(certificates []*x509.Certificate) (from, to time.Time) {
	from, to = certificates[0].NotBefore, certificates[0].NotAfter
	for _, certificate := range certificates[1:] {
		if certificate.NotBefore.After(from) {
			from = certificate.NotBefore
		}
		if certificate.NotAfter.Before(to) {
			to = certificate.NotAfter
		}
	}
	return from, to
}

// endOfTrust returns until when a client's certificate can be trusted at most: of its verified chains the one that
// lasts longest, of an unverified one the leaf.
func endOfTrust(chains [][]*x509.Certificate, certificates [][]byte) (end time.Time, err error) {
	for _, chain := range chains {
		if _, to := validity(chain); to.After(end) {
			end = to
		}
	}
	if len(chains) == 0 && len(certificates) > 0 {
		leaf, err := x509.ParseCertificate(certificates[0])
		if err != nil {
			return end, fmt.Errorf("reprise: client certificate of the session: %w", err)
		}
		end = leaf.NotAfter
	}
	return end, nil
}

// checkClientCertificate decides whether the client certificate of s, or its absence, is good enough for the
// connection, and returns its verified chains.
func (n *Connection) checkClientCertificate(s *Session) (chains [][]*x509.Certificate, ok bool) {
	info := &n.info
	if !s.HasPeerCertificates() {
		return nil, info.ClientAuth != tls.RequireAnyClientCert && info.ClientAuth != tls.RequireAndVerifyClientCert &&
			n.acceptedByApplication(s, nil)
	}
	now := n.certificateTime()
	switch info.ClientAuth {
	case tls.NoClientCert:
		return nil, false
	case tls.RequestClientCert, tls.RequireAnyClientCert:
		// The peer's word is all that a full handshake would have asked for; still it must not have expired.
		if end, err := endOfTrust(nil, s.PeerCertificates()); err != nil || now.After(end) {
			return nil, false
		}
	default:
		var err error
		if chains, err = n.cache.chains.verify(s.profile.chain, info.ClientCAs, now); err != nil {
			return nil, false
		}
	}
	return chains, n.acceptedByApplication(s, chains)
}

func (n *Connection) certificateTime() time.Time {
	if n.info.CertificateTime != nil {
		return n.info.CertificateTime()
	}
	return n.cache.options.Now()
}

// acceptedByApplication asks the connection's VerifyPeerCertificate, which crypto/tls calls in a full handshake only.
// crypto/tls does so whenever it has asked for a certificate, also if it got none.
func (n *Connection) acceptedByApplication(s *Session, chains [][]*x509.Certificate) (ok bool) {
	f := n.info.VerifyPeerCertificate
	if f == nil || n.info.ClientAuth == tls.NoClientCert {
		return true
	}
	defer n.cache.guard("VerifyPeerCertificate", nil) // ok is false then
	return f(s.PeerCertificates(), slices.Clone(chains)) == nil
}
