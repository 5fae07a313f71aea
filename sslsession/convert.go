package sslsession

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/reprise-tls/reprise"
)

// verifyUnspecified is X509_V_ERR_UNSPECIFIED.
const verifyUnspecified = 1

// ErrOpaque is returned by [FromSession] for a session that only the engine which made it can read.
var ErrOpaque = errors.New("sslsession: the session is in a form of its engine's own (reprise.Session.Opaque)")

// FromSession converts a session to the form of OpenSSL; the package's documentation has the table. [ToSession] gives back
// the session that it was.
//
// The timeout [2] is the shorter one of the session's own and what is left of its lineage, because OpenSSL has no notion of a
// lineage. It is an error if that is less than a second. The verify result [5] of a session with a client certificate is
// X509_V_ERR_UNSPECIFIED, because a reprise.Session does not know whether the certificate was verified, and OpenSSL
// does not verify it again: set VerifyResult to 0 if you know that it was.
//
// Set TicketAppData to nil for a smaller session that tells other software nothing of scope and lineage; what
// it holds is lost then.
func FromSession(s *reprise.Session) (*SSLSession, error) {
	if s.ID().IsZero() {
		return nil, errors.New("sslsession: a zero reprise.Session")
	}
	if len(s.Opaque()) > 0 {
		return nil, ErrOpaque
	}
	created, expiry := s.Created().Unix(), s.Expiry().Unix()
	if created <= 0 || expiry <= created { // OpenSSL would take the time of reading, and 3 seconds
		return nil, errors.New("sslsession: a session that lives for less than a second, or was made in 1970")
	}
	x := &SSLSession{
		Version:          s.Version(),
		CipherSuite:      s.CipherSuite(),
		SessionID:        s.ID().Bytes(),
		Secret:           s.Secret(),
		Time:             created,
		Timeout:          expiry - created,
		SessionIDContext: s.Context(),
		ServerName:       presentIfAny(s.ServerName()),
		ALPN:             presentIfAny(s.ALPN()),
		TicketAgeAdd:     s.TicketAgeAdd(),
		MaxEarlyData:     s.MaxEarlyData(),
		KeyExchangeGroup: uint32(s.Group()),
	}
	if s.ExtendedMasterSecret() && s.Version() == tls.VersionTLS12 { // in TLS 1.3, OpenSSL would fail the handshake
		x.Flags = FlagExtendedMasterSecret
	}
	data := appData{
		session:         sessionDigest(x.SessionID),
		created:         toMilliseconds(s.Created()),
		timeout:         milliseconds(s.Timeout().Milliseconds()),
		singleUse:       s.SingleUse(),
		scope:           s.Scope(),
		lineage:         s.Lineage(),
		applicationData: s.ApplicationData(),
	}
	if chain := s.PeerCertificates(); len(chain) > 0 {
		x.PeerCertificate, data.intermediates = chain[0], chain[1:]
		x.VerifyResult = verifyUnspecified
	}
	var err error
	if x.TicketAppData, err = data.marshal(); err != nil {
		return nil, fmt.Errorf("sslsession: [18] ticket application data: %w", err)
	}
	return x, nil
}

func presentIfAny(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// Foreign is what [ToSession] must be told about sessions of other software, which know neither scope nor lineage. The zero
// value accepts none: only sessions that [FromSession] has made, and those that OpenSSL has made from them by resumption.
type Foreign struct {
	// Scope is the scope that the session may be resumed in; required. [reprise.ScopeOf] makes it of a configuration.
	Scope reprise.Scope
	// Context is the session ID context that belongs to Scope. A session with another is an error, as it would be
	// declined in OpenSSL.
	Context []byte
	// Now is when a session was made that does not tell; required for such.
	Now time.Time
}

// accept checks that x, which names no scope, is one that f was written for.
func (f *Foreign) accept(x *SSLSession) error {
	switch {
	case f.Scope == reprise.Scope{}:
		return ErrForeign
	case !bytes.Equal(x.SessionIDContext, f.Context):
		return ErrContext
	}
	return nil
}

var (
	// ErrForeign is returned by [ToSession] for a session of other software if [Foreign] has no scope.
	ErrForeign = errors.New("sslsession: a session of other software, which has no scope")
	// ErrContext is returned by [ToSession] for a session of other software with another session ID context than
	// that of [Foreign].
	ErrContext = errors.New("sslsession: a session of another session ID context")
)

// ToSession converts a server's session from the form of OpenSSL; the package's documentation has the table. A session that
// [FromSession] has made, and those that OpenSSL has made from it, bring their scope and lineage along, and f does not
// matter. One of other software is of f's scope and begins a lineage of its own, the same each time that it is converted.
//
// It returns an error for a session that cannot be resumed here with the same meaning: other protocol versions than TLS 1.2
// and 1.3; no session ID; a secret of the wrong length; a client's session, which has a ticket; authentication by PSK, SRP or
// raw public key; compression; a limit on the length of fragments; a negative timeout.
//
// Warning: nothing in an SSL_SESSION is authenticated. Convert only what comes from a place that is as trustworthy as this
// process: who can write there can make sessions with any client certificate, in any scope.
func ToSession(x *SSLSession, f Foreign) (*reprise.Session, error) {
	if err := x.checkConvertible(); err != nil {
		return nil, err
	}
	data, err := x.appData(&f)
	if err != nil {
		return nil, err
	}
	id, err := reprise.MakeSessionID(x.SessionID)
	if err != nil {
		return nil, fmt.Errorf("sslsession: session ID: %w", err)
	}
	p := reprise.SessionParams{
		ID:                   id,
		Version:              x.Version,
		CipherSuite:          x.CipherSuite,
		Secret:               x.Secret,
		ExtendedMasterSecret: x.ExtendedMasterSecret() && x.Version == tls.VersionTLS12,
		SingleUse:            data.singleUse,
		Created:              data.created.time(),
		Timeout:              data.timeout.duration(),
		Lineage:              data.lineage,
		Context:              x.SessionIDContext,
		Scope:                data.scope,
		ServerName:           string(x.ServerName),
		ALPN:                 string(x.ALPN),
		TicketAgeAdd:         x.TicketAgeAdd,
		MaxEarlyData:         x.MaxEarlyData,
		ApplicationData:      data.applicationData,
	}
	if x.KeyExchangeGroup <= 0xffff { // beyond are OpenSSL's own numbers, of groups without a code
		p.Group = tls.CurveID(x.KeyExchangeGroup)
	}
	if x.PeerCertificate != nil {
		p.PeerCertificates = append([][]byte{x.PeerCertificate}, data.intermediates...)
	}
	s, err := reprise.NewSession(p)
	if err != nil {
		return nil, fmt.Errorf("sslsession: %w", err)
	}
	return s, nil
}

// checkConvertible tells whether a reprise.Session can mean the same as x.
func (x *SSLSession) checkConvertible() error {
	const year9999 = 253402300799
	switch {
	case x.Version != tls.VersionTLS12 && x.Version != tls.VersionTLS13:
		return fmt.Errorf("sslsession: protocol version %#04x, only TLS 1.2 and 1.3 are supported", x.Version)
	case len(x.SessionID) == 0:
		return errors.New("sslsession: no session ID; a session that is resumed by a TLS 1.2 ticket has none")
	case len(x.Secret) != x.secretLength():
		return fmt.Errorf("sslsession: secret of %d bytes, must be %d", len(x.Secret), x.secretLength())
	case x.Time < 0 || x.Time > year9999:
		return errors.New("sslsession: [1] time: before 1970 or after 9999")
	case x.Timeout < 0:
		return errors.New("sslsession: [2] timeout: negative")
	case x.PSKIdentity != nil || x.PSKIdentityHint != nil:
		return errors.New("sslsession: [7], [8]: authentication by PSK is not supported")
	case x.Ticket != nil:
		return errors.New("sslsession: [10] ticket: a client's session")
	case x.Compression != 0:
		return errors.New("sslsession: [11] compression is not supported")
	case x.SRPUsername != nil:
		return errors.New("sslsession: [12]: authentication by SRP is not supported")
	case x.MaxFragmentLength >= 1 && x.MaxFragmentLength <= 4: // OpenSSL also has a code for "not set"
		return errors.New("sslsession: [17] a limit on the length of fragments is not supported")
	case x.PeerPublicKey != nil:
		return errors.New("sslsession: [20]: authentication by raw public key is not supported")
	}
	return nil
}

// secretLength returns how long the secret must be (RFC 5246, section 8.1; RFC 8446, section 4.6.1).
func (x *SSLSession) secretLength() int {
	if x.Version == tls.VersionTLS13 && x.CipherSuite != tls.TLS_AES_256_GCM_SHA384 {
		return sha256.Size
	}
	return 48
}

// appData returns what belongs to a session and has no field of its own in x: from the application data that
// FromSession has made, or else what f says.
func (x *SSLSession) appData(f *Foreign) (*appData, error) {
	created := milliseconds(x.Time) * 1000
	if x.Time == 0 {
		if f.Now.IsZero() {
			return nil, errors.New("sslsession: [1] time: absent, and Foreign.Now is not set")
		}
		created = toMilliseconds(f.Now)
	}
	if hasPrefix(x.TicketAppData) {
		return x.ownAppData(f, created)
	}
	return x.foreignAppData(f, created)
}

func (x *SSLSession) ownAppData(f *Foreign, created milliseconds) (*appData, error) {
	a, err := parseAppData(x.TicketAppData)
	if err == nil && x.PeerCertificate == nil && a.intermediates != nil {
		err = errors.New("a client chain without its leaf")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: [18] ticket application data: %w", errMalformed, err)
	}
	if a.scope == (reprise.Scope{}) {
		if err := f.accept(x); err != nil {
			return nil, err
		}
		a.scope = f.Scope
	}
	if !a.isTimeoutOf(x) {
		a.timeout = x.timeout()
	}
	if !a.isTimeOf(x) {
		a.created = created
	}
	if !a.isOf(x) {
		a.lineage.Generation++
	}
	return a, nil
}

func (x *SSLSession) foreignAppData(f *Foreign, created milliseconds) (*appData, error) {
	if err := f.accept(x); err != nil {
		return nil, err
	}
	a := &appData{
		created: created,
		timeout: x.timeout(),
		scope:   f.Scope,
		lineage: reprise.Lineage{ID: x.lineageID(), Start: created.time()},
	}
	if x.TicketAppData != nil {
		a.applicationData = [][]byte{x.TicketAppData}
	}
	return a, nil
}

// timeout returns how long the session lives, by OpenSSL's rule for an absent timeout. No session lives longer than its lineage.
func (x *SSLSession) timeout() milliseconds {
	const absent = 3
	seconds := x.Timeout
	if seconds == 0 {
		seconds = absent
	}
	return milliseconds(min(seconds, int64(reprise.MaxLineage/time.Second))) * 1000
}

// lineageID makes the ID of the lineage that a session of other software begins. It depends on nothing but the session, and tells
// nobody anything who has not got the secret.
func (x *SSLSession) lineageID() [16]byte {
	h := sha256.New()
	h.Write([]byte("reprise sslsession lineage 1"))
	h.Write(x.Secret) // of a fixed length
	h.Write(x.SessionID)
	return [16]byte(h.Sum(nil))
}
