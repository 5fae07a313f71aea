package stdtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/tlsstate"
	"github.com/reprise-tls/reprise/stdtls"
)

// BenchmarkHooks measures what a resumption costs within the hooks, against crypto/tls's own tickets.
func BenchmarkHooks(b *testing.B) {
	for _, certificates := range []string{"no client certificate", "client chain of 3"} {
		b.Run(certificates, func(b *testing.B) {
			config := serverConfig(b)
			cs := tls.ConnectionState{
				Version:     tls.VersionTLS13,
				CipherSuite: tls.TLS_AES_128_GCM_SHA256,
				ServerName:  "a.example",
			}
			if certificates != "no client certificate" {
				clients := newChainOf3(b, time.Time{})
				config = mutualConfig(b, clients.root.Pool())
				cs.PeerCertificates, cs.VerifiedChains = verify(b, clients)
			}
			hello := newHelloInfo(b)
			b.Run("cache", func(b *testing.B) {
				cache := newCache(b, reprise.Options{Context: []byte("bench"), UnconfirmedPerSource: -1})
				attached := config.Clone()
				if err := stdtls.Attach(attached, cache); err != nil {
					b.Fatal(err)
				}
				identity := resumeOnce(b, attached, hello, cs, nil)
				b.ReportAllocs()
				for b.Loop() {
					identity = resumeOnce(b, attached, hello, cs, identity)
				}
			})
			b.Run("tickets", func(b *testing.B) {
				own := config.Clone()
				own.SetSessionTicketKeys([][32]byte{{1}})
				own.WrapSession, own.UnwrapSession = own.EncryptTicket, own.DecryptTicket
				own.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
				identity := resumeOnce(b, own, hello, cs, nil)
				b.ReportAllocs()
				for b.Loop() {
					identity = resumeOnce(b, own, hello, cs, identity)
				}
			})
		})
	}
}

// resumeOnce calls the hooks as crypto/tls does for one connection, and returns its ticket.
func resumeOnce(b *testing.B, config *tls.Config, hello *tls.ClientHelloInfo, cs tls.ConnectionState, identity []byte) []byte {
	b.Helper()
	own, err := config.GetConfigForClient(hello)
	if err != nil {
		b.Fatal(err)
	}
	var state *tls.SessionState
	if identity == nil {
		state = newSessionState(b, cs)
	} else if state, err = own.UnwrapSession(identity, cs); err != nil || state == nil {
		b.Fatal("not resumed", err)
	}
	cs.DidResume = identity != nil
	ticket, err := own.WrapSession(cs, state)
	if err != nil {
		b.Fatal(err)
	}
	return ticket
}

// newSessionState returns a session as crypto/tls would make it for cs.
func newSessionState(b *testing.B, cs tls.ConnectionState) *tls.SessionState {
	b.Helper()
	s := tlsstate.State{
		Version:     cs.Version,
		CipherSuite: cs.CipherSuite,
		CreatedAt:   uint64(time.Now().Unix()),
		Secret:      random(32),
	}
	for _, certificate := range cs.PeerCertificates {
		s.Certificates = append(s.Certificates, certificate.Raw)
	}
	for _, chain := range cs.VerifiedChains {
		var raw [][]byte
		for _, certificate := range chain[1:] {
			raw = append(raw, certificate.Raw)
		}
		s.VerifiedChains = append(s.VerifiedChains, raw)
	}
	encoded, err := s.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	state, err := tls.ParseSessionState(encoded)
	if err != nil {
		b.Fatal(err)
	}
	return state
}

func verify(b *testing.B, clients chainOf3) (sent []*x509.Certificate, chains [][]*x509.Certificate) {
	b.Helper()
	intermediates := x509.NewCertPool()
	for _, der := range clients.certificate.Certificate {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		sent = append(sent, certificate)
		intermediates.AddCert(certificate)
	}
	chains, err := sent[0].Verify(x509.VerifyOptions{
		Roots:         clients.root.Pool(),
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		b.Fatal(err)
	}
	return sent, chains
}
