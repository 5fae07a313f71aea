package reprise

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
)

// A Scope is where a session may be resumed: only in the scope that made it. It is a digest of the session ID
// context, the transport, the server name, the client-certificate policy and the subjects of the client CAs, taken from
// the configuration finally chosen for a connection. Nothing in it differs between the nodes of a fleet, and the
// server certificate is not in it, so that its renewal costs no session.
//
// Without this, a session made where client certificates are not asked for resumes where they are, and one virtual
// host's authenticated client is another's (CVE-2025-68121 was of this kind).
type Scope [sha256.Size]byte

// String returns the first 12 hex digits of the scope, to compare nodes by. A scope is no secret.
func (s Scope) String() string { return hex.EncodeToString(s[:6]) }

// A Transport is what carries the TLS handshake. Sessions of one do not resume in the other, because QUIC's carry
// parameters and early data that TCP does not know.
type Transport uint8

const (
	// TCP is a stream: every net.Conn.
	TCP Transport = iota
	// QUIC is RFC 9001.
	QUIC
)

// MaxContextLength is the length in bytes of the longest session ID context (SSL_MAX_SID_CTX_LENGTH).
const MaxContextLength = 32

// newScope digests a connection's configuration.
func newScope(context []byte, transport Transport, serverName string, auth tls.ClientAuthType, cas *x509.CertPool) Scope {
	d := newDigest("reprise scope 1")
	d.part(context)
	d.number(int(transport))
	d.part([]byte(serverName))
	d.number(int(auth))
	if auth != tls.NoClientCert {
		d.parts(sortedSubjects(cas))
	}
	return d.sum()
}

// scopeOf returns the scope of a connection. The last one is remembered, if no client certificates are asked for: the pool of CAs can change.
func (c *Cache) scopeOf(info *ConnectionInfo, serverName string) Scope {
	if info.ClientAuth != tls.NoClientCert {
		return newScope(info.Context, info.Transport, serverName, info.ClientAuth, info.ClientCAs)
	}
	last := c.lastScope.Load()
	if last == nil || last.serverName != serverName || last.transport != info.Transport || last.context != string(info.Context) {
		last = &knownScope{
			context: string(info.Context), transport: info.Transport, serverName: serverName,
			scope: newScope(info.Context, info.Transport, serverName, tls.NoClientCert, nil),
		}
		c.lastScope.Store(last)
	}
	return last.scope
}

// A knownScope is a scope without client certificates, and what it was made of.
type knownScope struct {
	context, serverName string
	transport           Transport
	scope               Scope
}

// ScopeOf returns the scope of connections with this configuration, for a status page that nodes are compared by. A nil
// Context is the empty one.
func ScopeOf(info ConnectionInfo) Scope {
	return newScope(info.Context, info.Transport, canonicalServerName(info.ServerName), info.ClientAuth, info.ClientCAs)
}

// sortedSubjects returns the subjects of pool in an order that does not depend on how it was filled. The deprecation
// of Subjects is about system roots, which it leaves out; those are no set of client CAs anyone chose.
func sortedSubjects(pool *x509.CertPool) [][]byte {
	if pool == nil {
		return nil
	}
	subjects := pool.Subjects() //nolint:staticcheck // SA1019: see above
	slices.SortFunc(subjects, bytes.Compare)
	return subjects
}

// canonicalServerName returns name as two spellings of one host name have in common: in lower case and without a
// trailing dot. Host names are ASCII (RFC 6066, section 3). What a client sends that is none stays what it is: Unicode
// has characters other than letters K and S whose lower case are these, and two dots are no trailing dot. A canonical
// name is its own canonical name.
func canonicalServerName(name string) string {
	if !strings.HasSuffix(name, "..") {
		name = strings.TrimSuffix(name, ".")
	}
	lower := []byte(name)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}
