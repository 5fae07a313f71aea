package sessions

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/printable"
)

// details returns what is told of a session. Text that others chose is printable in it: see [printable.Text].
func details(s *reprise.Session) *Details {
	lineage := s.Lineage()
	return &Details{
		TLSVersion:        tls.VersionName(s.Version()),
		CipherSuite:       tls.CipherSuiteName(s.CipherSuite()),
		ServerName:        printable.Text([]byte(s.ServerName())),
		ALPN:              printable.Text([]byte(s.ALPN())),
		Context:           printable.Text(s.Context()),
		Scope:             s.Scope().String(),
		FullHandshake:     lineage.Start.UTC(),
		Generation:        lineage.Generation,
		SingleUse:         s.SingleUse(),
		ClientCertificate: subject(s),
	}
}

// subject returns the subject of the client certificate, empty without one.
func subject(s *reprise.Session) string {
	if !s.HasPeerCertificates() {
		return ""
	}
	leaf, err := x509.ParseCertificate(s.PeerCertificates()[0])
	if err != nil {
		return "unreadable"
	}
	return printable.Text([]byte(leaf.Subject.String()))
}
