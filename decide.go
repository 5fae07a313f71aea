package reprise

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// decide decides whether a session that was found may be resumed on this connection. It is the only place that does,
// apart from single use, which is settled last by [Connection.Take]. Each rule is a decline with its reason; the order is
// OpenSSL's as far as it has the rule. chains are today's verified chains of the session's client certificate.
func (n *Connection) decide(s *Session, offer *Offer, now milliseconds) (reason Reason, chains [][]*x509.Certificate) {
	// RFC 8446, section 4.6.1, and RFC 5246, section 7.4.1.3: a session resumes in its own version.
	if s.version != offer.Version {
		return Version, nil
	}
	// RFC 6066, section 3: "A server that implements this extension MUST NOT accept the request to resume the session if the
	// server_name extension contains a different name."
	if s.profile.serverName != n.serverName {
		return ServerName, nil
	}
	if s.profile.scope != n.scope {
		return OtherScope, nil
	}
	// The age of a session may be all of its timeout; that of its lineage is at most 7 days. One of the future would live
	// longer by what a clock has been put back, or another node's is ahead.
	if now > s.expiry() || s.created-now > maxClockSkew {
		return Expired, nil
	}
	if reason := n.cache.revocations.Load().judge(s); reason != Resumed {
		return reason, nil
	}
	if s.version == tls.VersionTLS12 {
		// RFC 7627, section 5.3: a difference either way forbids resumption. Without the extension the handshakes of two
		// connections can have one master secret, so such a session must not carry a client's identity.
		if s.ExtendedMasterSecret() != offer.ExtendedMasterSecret || !s.ExtendedMasterSecret() && s.HasPeerCertificates() {
			return ExtendedMasterSecret, nil
		}
	}
	if !suiteFits(s, offer.CipherSuites) {
		return CipherSuite, nil
	}
	chains, ok := n.checkClientCertificate(s)
	if !ok {
		return ClientCertificate, nil
	}
	return Resumed, chains
}

// suiteFits tells whether the session's cipher suite is one of those that can be used (RFC 5246, section 7.4.1.3), or
// in TLS 1.3 has the hash of one (RFC 8446, section 4.2.11).
func suiteFits(s *Session, suites []uint16) bool {
	if s.version != tls.VersionTLS13 {
		return slices.Contains(suites, s.cipherSuite)
	}
	return slices.ContainsFunc(suites, func(suite uint16) bool {
		return isSHA384(suite) == isSHA384(s.cipherSuite)
	})
}

func isSHA384(tls13Suite uint16) bool { return tls13Suite == tls.TLS_AES_256_GCM_SHA384 }
