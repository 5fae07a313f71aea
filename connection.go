package reprise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// A Connection is what the cache knows of one server connection, from its ClientHello to its end. A TLS engine drives it:
//
//	conn, err := cache.Accept(ctx, info)      // ClientHello read, configuration chosen
//	s, reason := conn.Lookup(id, offer)       // for each ID offered, until one is found
//	reason = conn.Take(s)                     // the peer has proved itself, or the engine can't wait for that
//	conn.Resumed(s)                           // the engine resumes s
//	s, err = conn.NewSession(params)          // for each session ID or ticket to send
//	conn.Complete(true)                       // the peer's Finished is verified
//	conn.End(ending)                          // the connection is closed
//
// Nothing that the peer does before Complete removes a session, but for Take. The methods may be called from different
// goroutines; those of the handshake one after the other.
type Connection struct {
	cache *Cache
	info  ConnectionInfo
}

// ConnectionInfo is what the cache must know of a connection's configuration, as finally chosen for it.
type ConnectionInfo struct {
	// Transport is TCP or QUIC.
	Transport Transport
	// ServerName is the name that the client asked for, in any spelling; empty if none.
	ServerName string
	// Context, if not nil, is the session ID context instead of the cache's.
	Context []byte
	// ClientAuth is the policy for client certificates.
	ClientAuth tls.ClientAuthType
	// ClientCAs are the roots that client certificates are verified against. nil means the system's.
	ClientCAs *x509.CertPool
	// VerifyPeerCertificate, if not nil, must accept the client chain of a session before it is resumed, as
	// in [tls.Config].
	VerifyPeerCertificate func(rawCerts [][]byte, verifiedChains [][]*x509.Certificate) error
	// CertificateTime is the time that certificates are verified at; nil means the cache's clock.
	CertificateTime func() time.Time
	// RemoteAddr is the client's address; nil if not known.
	RemoteAddr net.Addr
}

// ErrContextRequired is returned by [Cache.Accept] if client certificates are asked for and there is no session ID
// context. Without one, a session could carry a client's identity where it was never meant to.
var ErrContextRequired = errors.New("reprise: client certificates need a session ID context; set Options.Context")

// Accept begins a server connection. The deadline of its lookups begins at the first of them; they end with ctx at the
// latest. An error means that the connection must go on without resumption and without sessions.
func (c *Cache) Accept(ctx context.Context, info ConnectionInfo) (*Connection, error) { panic("TODO") }

// An Offer is what the ClientHello allows a session to be resumed with.
type Offer struct {
	// Version is the protocol version that was negotiated.
	Version uint16
	// CipherSuites are the suites that can be used. TLS 1.2: those that the client offers and the configuration
	// enables; the session's must be among them. TLS 1.3: the one that was negotiated; the session's must have the
	// same hash (RFC 8446, section 4.6.1).
	CipherSuites []uint16
	// ExtendedMasterSecret tells that the TLS 1.2 ClientHello has the extension (RFC 7627).
	ExtendedMasterSecret bool
}

// Lookup looks for the session id, in the internal cache and then by the get callback, and decides whether it may be
// resumed. It returns the session and [Resumed] if so; else nil and why not. At most [MaxLookups] IDs of one
// connection are looked up, the rest are [Unknown].
//
// With [ExtendedMasterSecret] it may return a session too: the ClientHello lacks the extension that the session was
// made with, and the engine must abort the handshake (RFC 7627, section 5.3).
func (n *Connection) Lookup(id []byte, offer Offer) (*Session, Reason) { panic("TODO") }

// MaxLookups is how many session IDs of one connection are looked up at most, however many identities a ClientHello
// offers.
const MaxLookups = 5

// Take takes the session that Lookup returned if it is for single use: from this cache and, by the take callback, from
// the external one. It returns [Resumed] if the session may be resumed now, and why not otherwise. Sessions that may be used
// again are not touched. An engine calls it as late as it can, at best after the peer has proved that it has the secret.
func (n *Connection) Take(s *Session) Reason { panic("TODO") }

// Resumed tells that the engine resumes s. It takes effect with [Connection.Complete].
func (n *Connection) Resumed(s *Session) { panic("TODO") }

// NewSession makes a session of this connection: with a new ID, the scope and server name of the connection, the cache's timeout
// unless p has one, and the lineage of the session that was resumed, or a new one that ends with the
// earliest NotAfter in verifiedChains. It is kept and announced by [Connection.Complete].
//
// The fields of p that say so are set here. An error means that no session can be made; the handshake goes on without.
func (n *Connection) NewSession(p SessionParams, verifiedChains [][]*x509.Certificate) (*Session, error) {
	panic("TODO")
}

// Complete tells that the handshake is complete. confirmed tells that the peer has proved itself: its Finished, its
// CertificateVerify or the binder of its PSK was verified. Then the resumption counts, and the sessions made are kept and announced by
// the new callback. Unconfirmed sessions are announced too, but lie in a part of the cache that can't push out confirmed
// ones, and are bounded for each source address.
//
// An engine that makes sessions later, such as tickets on demand, calls Complete again after them; only the first
// call counts the handshake.
func (n *Connection) Complete(confirmed bool) { panic("TODO") }

// An Ending is how a connection ended, after its handshake.
type Ending struct {
	// CloseNotifySent and CloseNotifyReceived tell which sides closed the connection properly (RFC 8446, section 6.1).
	CloseNotifySent, CloseNotifyReceived bool
	// FatalAlert tells that a fatal alert was sent or received.
	FatalAlert bool
}

// Unclean is the rule by which the end of a connection removes its session. It judges connections whose handshake was
// completed.
type Unclean uint8

const (
	// UncleanOpenSSL: after a fatal alert, and if our side has not sent close_notify. What the peer sent does not
	// matter; many clients never send one. The default.
	UncleanOpenSSL Unclean = iota
	// UncleanNever: no end of a connection removes its session.
	UncleanNever
	// UncleanFatal: after a fatal alert only.
	UncleanFatal
	// UncleanStrict: after a fatal alert, and unless both sides have sent close_notify.
	UncleanStrict
)

// End tells how the connection ended. By the cache's [Unclean] rule it removes the connection's session: the last one
// made, or else the one resumed. Only the first call, after Complete, has an effect.
func (n *Connection) End(e Ending) { panic("TODO") }

// Session returns the connection's session: the last one made, or else the one resumed; nil if there is none.
func (n *Connection) Session() *Session { panic("TODO") }

// ResumedSession returns the session that the connection resumed, nil after a full handshake.
func (n *Connection) ResumedSession() *Session { panic("TODO") }

// Reason returns how the client's offer ended so far: [Resumed], [NotOffered] or why it was declined. If several were
// declined, it is the reason of the last.
func (n *Connection) Reason() Reason { panic("TODO") }

// Cache returns the cache that the connection belongs to.
func (n *Connection) Cache() *Cache { return n.cache }

// VerifiedChains returns today's verified chains of a session's client certificate, which Lookup has verified; nil without.
func (n *Connection) VerifiedChains(s *Session) [][]*x509.Certificate { panic("TODO") }

// Scope returns the scope of the connection.
func (n *Connection) Scope() Scope { panic("TODO") }
