package reprise

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unique"
)

// A Session is resumable state: what a TLS server must remember of a connection to resume it in another one
// (RFC 5246, section 7.3; RFC 8446, section 2.2). It is not a connection: in TLS 1.3 each ticket is a session of its own.
//
// A Session is immutable and may be used from many goroutines and kept for as long as one likes; there is nothing to
// free. It never prints its secret. Two sessions can't be compared with ==; compare their IDs.
type Session struct {
	_ [0]func() // not comparable

	sessionData
	profile   *profile
	madeUnder *fleetKey // what has made the ID; nil if it is not known
	storeKey  StoreKey  // under it, zero if it is not known
}

// sessionData is a session without its profile. It holds no pointer, so that it may lie where the garbage collector does
// not look.
type sessionData struct {
	secret       [maxSecretLength]byte
	created      milliseconds
	timeout      milliseconds
	lineage      lineage
	residence    residence // of a session that comes from the internal cache or from a store
	ticketAgeAdd uint32
	maxEarlyData uint32
	version      uint16
	cipherSuite  uint16
	group        uint16
	secretLength uint8
	flags        sessionFlags
	id           SessionID
}

// maxSecretLength is the length of the longest secret of a supported version: the TLS 1.2 master secret and the
// resumption PSK of a SHA-384 suite.
const maxSecretLength = 48

type sessionFlags uint8

const (
	flagExtendedMasterSecret sessionFlags = 1 << iota
	flagSingleUse

	knownSessionFlags = flagExtendedMasterSecret | flagSingleUse
)

// milliseconds is a point in time since the Unix epoch, or a duration. Pointer-free memory holds these, and an
// encoding too.
type milliseconds int64

func toMilliseconds(t time.Time) milliseconds { return milliseconds(t.UnixMilli()) }

func (m milliseconds) time() time.Time { return time.UnixMilli(int64(m)) }

// roundUp returns d in milliseconds, rounded up.
func roundUp(d time.Duration) milliseconds {
	return milliseconds(d/time.Millisecond) + milliseconds(min(d%time.Millisecond, 1))
}

func (m milliseconds) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// A profile is what many sessions have in common. Sessions of one profile share it in the internal cache, and so do those of a
// lineage as a rule; a client chain lies in memory once, however many profiles have it.
type profile struct {
	traits
	tags atomic.Pointer[profileTags] // the last that were made
}

// traits are what profiles are told from each other by.
type traits struct {
	scope      Scope
	context    string
	serverName string
	alpn       string
	chain      unique.Handle[string] // client certificates: opaque<1..2^24-1> each
	appData    string                // opaque<0..2^16-1> each
	opaque     string
	captured   revocationCount // when the lineage began
}

var noChain = unique.Make("")

// chainHandle returns the handle of an encoded chain.
func chainHandle(chain []byte) unique.Handle[string] {
	if len(chain) == 0 {
		return noChain // as most have none
	}
	return unique.Make(string(chain))
}

// A Lineage is all sessions that descend from one full handshake by resumption. No session outlives it.
type Lineage struct {
	// ID is random, made at the full handshake.
	ID [16]byte
	// Start is the time of the full handshake.
	Start time.Time
	// End is the time after which no session of the lineage resumes: at most [MaxLineage] after Start (RFC 8446,
	// section 4.6.1), and not past the earliest NotAfter of the client's verified chain.
	End time.Time
	// Generation counts the resumptions since the full handshake, whose own sessions are of generation 0.
	Generation uint32
}

// MaxLineage is the longest that a client may go on resuming after a full handshake (RFC 8446, section 4.6.1).
const MaxLineage = 7 * 24 * time.Hour

// maxClockSkew is by how much clocks of nodes may differ, an hour.
const maxClockSkew milliseconds = 60 * 60 * 1000

type lineage struct {
	id         [16]byte
	start, end milliseconds
	generation uint32
	_          [4]byte // as long on all processors
}

// SessionParams are the parts of a session, for [NewSession] and [Connection.NewSession].
type SessionParams struct {
	// ID is the session ID; required. [Connection.NewSession] makes one if there is none.
	ID SessionID
	// Version is the protocol version, such as tls.VersionTLS13; required.
	Version uint16
	// CipherSuite is the IANA code of the cipher suite; required.
	CipherSuite uint16
	// Group is the key exchange group of the full handshake; 0 if unknown.
	Group tls.CurveID
	// Secret is the 48-byte master secret of TLS 1.2, or the resumption PSK of TLS 1.3 (RFC 8446, section 4.6.1);
	// required unless Opaque holds it. It is copied.
	Secret []byte
	// ExtendedMasterSecret tells that the TLS 1.2 master secret is an extended one (RFC 7627).
	ExtendedMasterSecret bool
	// SingleUse tells that the session may be resumed once only. Sessions with MaxEarlyData always are for single use.
	SingleUse bool
	// Created is when the session was made, with a resolution of a millisecond; required.
	// [Connection.NewSession] sets it.
	Created time.Time
	// Timeout is how long after Created the session may be resumed. 0 means [DefaultTimeout];
	// [Connection.NewSession] takes the cache's timeout then.
	Timeout time.Duration
	// Lineage is the session's lineage. Without an ID it is a new one, without a Start it begins with this session, and
	// without an End it lasts for [MaxLineage]. [Connection.NewSession] sets it.
	Lineage Lineage
	// Context is the session ID context, at most 32 bytes. [Connection.NewSession] sets it.
	Context []byte
	// Scope is the scope that the session may be resumed in. [Connection.NewSession] sets it.
	Scope Scope
	// ServerName is the name that the client asked for (RFC 6066, section 3), in any spelling, empty if it gave none.
	// [Connection.NewSession] sets it.
	ServerName string
	// ALPN is the protocol that was negotiated (RFC 7301); empty if none.
	ALPN string
	// PeerCertificates is the client's chain as it was sent, in DER, leaf first; empty without a client certificate.
	PeerCertificates [][]byte
	// TicketAgeAdd is the ticket_age_add of a TLS 1.3 ticket (RFC 8446, section 4.6.1).
	TicketAgeAdd uint32
	// MaxEarlyData is the max_early_data_size of a TLS 1.3 ticket, 0 if it allows no early data. [Connection.NewSession]
	// may make it 0.
	MaxEarlyData uint32
	// ApplicationData is opaque data of the application or of other layers, such as the Extra of a
	// [tls.SessionState].
	ApplicationData [][]byte
	// Opaque is the session, with its secret, in a form that only the engine that made it can read; empty if the
	// session is neutral.
	Opaque []byte

	captured revocationCount
	former   *profile // of the session that was resumed; nil if none was
}

// String returns a placeholder, as the parts of a session hold its secret.
func (p SessionParams) String() string { return "SessionParams(" + tls.VersionName(p.Version) + ")" }

// Format writes the placeholder of [SessionParams.String], for every verb.
func (p SessionParams) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// MarshalText returns the placeholder too, so that JSON does not show the secret.
func (p SessionParams) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// DefaultTimeout is how long a session may be resumed if nothing else is set: 2 hours, as in OpenSSL's library.
const DefaultTimeout = 2 * time.Hour

// maxVariable is the most bytes that the parts of variable length may have together, so that a sealed record stays
// below [MaxRecordLength].
const maxVariable = MaxRecordLength - 1024

// NewSession makes a session of its parts. It returns an error that names the part which is missing or too long.
// Servers do not call it: their sessions come from [Connection.NewSession]. It is for get callbacks that read
// sessions of other software.
func NewSession(p SessionParams) (*Session, error) {
	switch {
	case p.ID.IsZero():
		return nil, errors.New("reprise: session without ID")
	case p.Version < tls.VersionTLS12 || p.Version > tls.VersionTLS13:
		return nil, fmt.Errorf("reprise: session of protocol version %#04x, only TLS 1.2 and 1.3 are supported", p.Version)
	case len(p.Secret) == 0 && len(p.Opaque) == 0 || len(p.Secret) > maxSecretLength:
		return nil, fmt.Errorf("reprise: session secret of %d bytes, must be 1 to %d", len(p.Secret), maxSecretLength)
	case p.Created.IsZero():
		return nil, errors.New("reprise: session without time of creation")
	case p.Timeout < 0:
		return nil, errors.New("reprise: session with negative timeout")
	case len(p.Context) > MaxContextLength:
		return nil, fmt.Errorf("reprise: session ID context of %d bytes, at most %d are allowed", len(p.Context), MaxContextLength)
	case len(p.ServerName) > 255:
		return nil, fmt.Errorf("reprise: server name of %d bytes, at most 255 are allowed", len(p.ServerName))
	case len(p.ALPN) > 255:
		return nil, fmt.Errorf("reprise: ALPN protocol of %d bytes, at most 255 are allowed", len(p.ALPN))
	}
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	s := &Session{sessionData: sessionData{
		id:           p.ID,
		secretLength: uint8(len(p.Secret)),
		version:      p.Version,
		cipherSuite:  p.CipherSuite,
		group:        uint16(p.Group),
		ticketAgeAdd: p.TicketAgeAdd,
		maxEarlyData: p.MaxEarlyData,
		created:      toMilliseconds(p.Created),
		timeout:      roundUp(p.Timeout),
		lineage:      newLineage(p.Lineage, p.Created),
	}}
	for _, t := range []milliseconds{s.created, s.lineage.start, s.lineage.end} {
		if t < 0 || t > maxMilliseconds {
			return nil, fmt.Errorf("reprise: session with a time that can't be stored, %v", t.time().UTC())
		}
	}
	copy(s.secret[:], p.Secret)
	if p.ExtendedMasterSecret {
		s.flags |= flagExtendedMasterSecret
	}
	if p.SingleUse || p.MaxEarlyData > 0 {
		s.flags |= flagSingleUse
	}
	var err error
	if s.profile, err = newProfile(&p); err != nil {
		return nil, err
	}
	return s, nil
}

// equal tells whether two sessions are the same in every part.
func (s *Session) equal(other *Session) bool {
	a, errA := s.MarshalBinary()
	b, errB := other.MarshalBinary()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func newLineage(l Lineage, created time.Time) lineage {
	if l.ID == [16]byte{} {
		rand.Read(l.ID[:])
	}
	if l.Start.IsZero() {
		l.Start = created
	}
	latest := l.Start.Add(MaxLineage)
	if l.End.IsZero() || l.End.After(latest) {
		l.End = latest
	}
	return lineage{id: l.ID, start: toMilliseconds(l.Start), end: toMilliseconds(l.End), generation: l.Generation}
}

func newProfile(p *SessionParams) (*profile, error) {
	if p.former != nil && p.former.describes(p) {
		return p.former, nil
	}
	chain, err := encodeVectors24(p.PeerCertificates)
	if err != nil {
		return nil, fmt.Errorf("reprise: client chain of the session: %w", err)
	}
	appData, err := encodeVectors16(p.ApplicationData)
	if err != nil {
		return nil, fmt.Errorf("reprise: application data of the session: %w", err)
	}
	if n := len(chain) + len(appData) + len(p.Opaque); n > maxVariable {
		return nil, fmt.Errorf("reprise: session with %d bytes of client chain and application data, at most %d are allowed", n, maxVariable)
	}
	return &profile{traits: traits{
		scope:      p.Scope,
		context:    string(p.Context),
		serverName: canonicalServerName(p.ServerName),
		alpn:       p.ALPN,
		chain:      chainHandle(chain),
		appData:    string(appData),
		opaque:     string(p.Opaque),
		captured:   p.captured,
	}}, nil
}

// describes reports whether a session of the parts has the profile. It may say no though it has.
func (t *traits) describes(p *SessionParams) bool {
	return t.scope == p.Scope && t.context == string(p.Context) && t.serverName == p.ServerName && t.alpn == p.ALPN &&
		t.opaque == string(p.Opaque) && t.captured == p.captured &&
		isEncodingOf(t.chain.Value(), 3, p.PeerCertificates) && isEncodingOf(t.appData, 2, p.ApplicationData)
}

// ID returns the session ID.
func (s *Session) ID() SessionID { return s.id }

// Version returns the protocol version, such as [tls.VersionTLS13].
func (s *Session) Version() uint16 { return s.version }

// CipherSuite returns the IANA code of the cipher suite.
func (s *Session) CipherSuite() uint16 { return s.cipherSuite }

// Group returns the key exchange group of the full handshake, 0 if it is not known.
func (s *Session) Group() tls.CurveID { return tls.CurveID(s.group) }

// Secret returns a copy of the master secret or the resumption PSK. Whoever has it can resume the session and, in TLS
// 1.2, decrypt its connections. This is the only way to the secret besides [Session.MarshalBinary].
func (s *Session) Secret() []byte { return bytes.Clone(s.secret[:s.secretLength]) }

// ExtendedMasterSecret reports whether the master secret is an extended one (RFC 7627).
func (s *Session) ExtendedMasterSecret() bool { return s.flags&flagExtendedMasterSecret != 0 }

// SingleUse reports whether the session may be resumed once only.
func (s *Session) SingleUse() bool { return s.flags&flagSingleUse != 0 }

// Created returns when the session was made.
func (s *Session) Created() time.Time { return s.created.time() }

// Timeout returns how long after [Session.Created] the session may be resumed; its lineage may end earlier.
func (s *Session) Timeout() time.Duration { return s.timeout.duration() }

// Expiry returns the last moment at which the session may be resumed: the end of its timeout or of its lineage,
// whichever comes first.
func (s *Session) Expiry() time.Time { return s.expiry().time() }

func (s *Session) expiry() milliseconds {
	if s.timeout > s.lineage.end-s.created {
		return s.lineage.end
	}
	return s.created + s.timeout
}

// Lineage returns the session's lineage.
func (s *Session) Lineage() Lineage {
	l := s.lineage
	return Lineage{ID: l.id, Start: l.start.time(), End: l.end.time(), Generation: l.generation}
}

// Context returns the session ID context.
func (s *Session) Context() []byte { return []byte(s.profile.context) }

// Scope returns the scope that the session resumes in.
func (s *Session) Scope() Scope { return s.profile.scope }

// ServerName returns the canonical name that the client asked for, empty if none.
func (s *Session) ServerName() string { return s.profile.serverName }

// ALPN returns the negotiated application protocol, empty if none.
func (s *Session) ALPN() string { return s.profile.alpn }

// PeerCertificates returns the client's chain in DER, leaf first; nil without a client certificate.
func (s *Session) PeerCertificates() [][]byte { return decodeVectors24(s.profile.chain.Value()) }

// HasPeerCertificates reports whether the session has a client certificate.
func (s *Session) HasPeerCertificates() bool { return s.profile.chain != noChain }

// TicketAgeAdd returns the ticket_age_add of a TLS 1.3 ticket.
func (s *Session) TicketAgeAdd() uint32 { return s.ticketAgeAdd }

// MaxEarlyData returns the max_early_data_size of a TLS 1.3 ticket, 0 if it allows no early data.
func (s *Session) MaxEarlyData() uint32 { return s.maxEarlyData }

// ApplicationData returns the data that the application or other layers added; nil if there is none.
func (s *Session) ApplicationData() [][]byte { return decodeVectors16(s.profile.appData) }

// Opaque returns the session in the form of the engine that made it, nil if the session is neutral.
func (s *Session) Opaque() []byte { return append([]byte(nil), s.profile.opaque...) }

// String describes the session without its secret and its ID.
func (s *Session) String() string {
	if s == nil {
		return "Session(nil)"
	}
	return fmt.Sprintf("Session(%s, %s, created %s)",
		tls.VersionName(s.version), tls.CipherSuiteName(s.cipherSuite), s.Created().UTC().Format(time.RFC3339))
}

// Format writes what [Session.String] returns, for every verb. Like MarshalText it also works for a Session that is not pointed
// to, so that none is printed field by field.
func (s Session) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue implements [slog.LogValuer] with [Session.String].
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler] with [Session.String], so that JSON does not show the secret.
func (s Session) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
