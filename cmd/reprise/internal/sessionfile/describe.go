package sessionfile

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/printable"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
	"github.com/reprise-tls/reprise/sslsession"
)

// A description is all that is shown of a session. Text that others chose is printable in it: see [printable.Text].
type description struct {
	Form Form `json:"form"`
	// Session is the session's name, as in logs and answers; empty unless one of the fleet keys has made its ID.
	Session string `json:"session,omitempty"`
	// Sealed is why a record was not opened; Header is then all there is.
	Sealed string  `json:"sealed,omitempty"`
	Header *header `json:"record,omitempty"`
	*contents
	// More tells that another session follows in the file.
	More bool `json:"more,omitempty"`
}

// A header is what a record says in clear.
type header struct {
	Bytes                int       `json:"bytes"`
	Created              time.Time `json:"created"`
	Expires              time.Time `json:"expires"`
	Incarnation          uint64    `json:"incarnation"`
	LineageTag           string    `json:"lineage_tag"`
	ScopeTag             string    `json:"scope_tag"`
	ServerNameTag        string    `json:"server_name_tag"`
	ClientCertificateTag string    `json:"client_certificate_tag,omitempty"`
}

// contents are what a session says, in the order of SSL_SESSION.
type contents struct {
	TLSVersion         string        `json:"tls_version"`
	CipherSuite        string        `json:"cipher_suite"`
	SessionIDBytes     int           `json:"session_id_bytes"`
	SecretBytes        int           `json:"secret_bytes"`
	Created            *time.Time    `json:"created,omitempty"` // absent, or past the year 9999
	TimeoutSeconds     int64         `json:"timeout_seconds"`
	Expires            *time.Time    `json:"expires,omitempty"`
	Certificates       []certificate `json:"peer_certificates,omitempty"`
	Context            string        `json:"context"`
	VerifyResult       int32         `json:"verify_result"`
	ServerName         string        `json:"server_name"`
	PSKIdentityHint    string        `json:"psk_identity_hint,omitempty"`
	PSKIdentity        string        `json:"psk_identity,omitempty"`
	TicketBytes        int           `json:"ticket_bytes"`
	TicketLifetimeHint uint64        `json:"ticket_lifetime_hint_seconds"`
	Compression        uint8         `json:"compression,omitempty"`
	SRPUsername        string        `json:"srp_username,omitempty"`
	EMS                bool          `json:"extended_master_secret"`
	MaxEarlyData       uint32        `json:"max_early_data"`
	ALPN               string        `json:"alpn"`
	MaxFragmentLength  uint8         `json:"max_fragment_length,omitempty"`
	AppDataBytes       []int         `json:"application_data_bytes,omitempty"` // one for each piece
	Group              string        `json:"group,omitempty"`
	PeerPublicKeyBytes int           `json:"peer_public_key_bytes,omitempty"`
	// Own is what only sessions of ours have.
	Own *own `json:"reprise,omitempty"`
	// Reprise and OpenSSL say whether the session can be used there: yes, or why not.
	Reprise string `json:"usable_in_reprise"`
	OpenSSL string `json:"usable_in_openssl"`

	Secrets *secrets `json:"secrets,omitempty"`
}

type certificate struct {
	Subject  string     `json:"subject"`
	Issuer   string     `json:"issuer,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	SHA256   string     `json:"sha256"`
}

type own struct {
	Scope         string    `json:"scope"`
	Lineage       string    `json:"lineage"`
	FullHandshake time.Time `json:"full_handshake"`
	LineageEnds   time.Time `json:"lineage_ends"`
	Generation    uint32    `json:"generation"`
	SingleUse     bool      `json:"single_use"`
}

type secrets struct {
	SessionID    string `json:"session_id"`
	Secret       string `json:"secret"`
	Ticket       string `json:"ticket,omitempty"`
	TicketAgeAdd uint32 `json:"ticket_age_add,omitempty"` // sent encrypted, so that who watches can't link connections by age
}

// describe tells all that is known of a session.
func (i *Input) describe(f *found, withSecrets bool) *description {
	d := &description{Form: f.form, More: f.more}
	if f.form == formRecord {
		d.Header = describeHeader(f)
	}
	x, s := f.ssl, f.own
	switch {
	case f.sealed != nil:
		d.Sealed = f.sealed.Error()
		return d
	case x != nil:
		d.contents = describeSSL(x)
		var err error
		if s, err = sslsession.ToSession(x, sslsession.Foreign{}); err != nil { // without a scope, only ours convert
			s = nil
		}
		_, err = f.toSession()
		d.OpenSSL, d.Reprise = "yes", usable(err)
	default:
		x = viewSSL(s)
		d.contents = describeSSL(x)
		_, err := sslsession.FromSession(s)
		d.OpenSSL, d.Reprise = usable(err), "yes"
	}
	if s != nil {
		d.describeOwn(s)
	}
	if withSecrets {
		d.Secrets = &secrets{hex.EncodeToString(x.SessionID), hex.EncodeToString(x.Secret), hex.EncodeToString(x.Ticket), x.TicketAgeAdd}
	}
	d.Session = i.name(x)
	return d
}

// name returns the session's name if one of the fleet keys has made its ID.
func (i *Input) name(x *sslsession.SSLSession) string {
	raw := x.SessionID
	if len(x.Ticket) > 0 {
		raw = x.Ticket
	}
	id, err := reprise.MakeSessionID(raw)
	if i.keys == nil || err != nil || !i.keys.Made(id) {
		return ""
	}
	key := i.keys.StoreKeys(id)[0]
	return hex.EncodeToString(key[:])[:sessions.Digits]
}

func usable(err error) string {
	if err == nil {
		return "yes"
	}
	return "no: " + strings.TrimPrefix(err.Error(), "sslsession: ")
}

func describeHeader(f *found) *header {
	h := &header{
		Bytes:         len(f.record),
		Created:       f.header.Created.UTC(),
		Expires:       f.header.Expiry.UTC(),
		Incarnation:   f.header.Incarnation,
		LineageTag:    f.header.Lineage.String(),
		ScopeTag:      f.header.Scope.String(),
		ServerNameTag: f.header.ServerName.String(),
	}
	if f.header.ClientCertificate != (reprise.RecordTag{}) {
		h.ClientCertificateTag = f.header.ClientCertificate.String()
	}
	return h
}

func describeSSL(x *sslsession.SSLSession) *contents {
	c := &contents{
		TLSVersion:         tls.VersionName(x.Version),
		CipherSuite:        tls.CipherSuiteName(x.CipherSuite),
		SessionIDBytes:     len(x.SessionID),
		SecretBytes:        len(x.Secret),
		TimeoutSeconds:     x.Timeout,
		Context:            printable.Text(x.SessionIDContext),
		VerifyResult:       x.VerifyResult,
		ServerName:         printable.Text(x.ServerName),
		PSKIdentityHint:    printable.Text(x.PSKIdentityHint),
		PSKIdentity:        printable.Text(x.PSKIdentity),
		TicketBytes:        len(x.Ticket),
		TicketLifetimeHint: x.TicketLifetimeHint,
		Compression:        x.Compression,
		SRPUsername:        printable.Text(x.SRPUsername),
		EMS:                x.ExtendedMasterSecret(),
		MaxEarlyData:       x.MaxEarlyData,
		ALPN:               printable.Text(x.ALPN),
		MaxFragmentLength:  x.MaxFragmentLength,
		PeerPublicKeyBytes: len(x.PeerPublicKey),
	}
	if c.Created = moment(x.Time); c.Created != nil && x.Timeout >= 0 && x.Timeout <= year9999 {
		c.Expires = moment(x.Time + x.Timeout)
	}
	if x.PeerCertificate != nil {
		c.Certificates = []certificate{describeCertificate(x.PeerCertificate)}
	}
	if x.TicketAppData != nil {
		c.AppDataBytes = []int{len(x.TicketAppData)}
	}
	if x.KeyExchangeGroup > 0 && x.KeyExchangeGroup <= 0xffff {
		c.Group = tls.CurveID(x.KeyExchangeGroup).String()
	} else if x.KeyExchangeGroup > 0 {
		c.Group = fmt.Sprintf("%#x", x.KeyExchangeGroup)
	}
	return c
}

// viewSSL returns what a session of ours has in common with OpenSSL's, also if it can't be converted. What there is beyond,
// describeOwn tells.
func viewSSL(s *reprise.Session) *sslsession.SSLSession {
	x := &sslsession.SSLSession{
		Version:          s.Version(),
		CipherSuite:      s.CipherSuite(),
		SessionID:        s.ID().Bytes(),
		Secret:           s.Secret(),
		SessionIDContext: s.Context(),
		ServerName:       []byte(s.ServerName()),
		TicketAgeAdd:     s.TicketAgeAdd(),
		MaxEarlyData:     s.MaxEarlyData(),
		ALPN:             []byte(s.ALPN()),
		KeyExchangeGroup: uint32(s.Group()),
	}
	if s.ExtendedMasterSecret() {
		x.Flags = sslsession.FlagExtendedMasterSecret
	}
	if s.HasPeerCertificates() {
		x.VerifyResult = verifyUnspecified
	}
	return x
}

// describeOwn tells what only a session of ours knows, and its times to the millisecond.
func (d *description) describeOwn(s *reprise.Session) {
	lineage := s.Lineage()
	d.Own = &own{
		Scope:         s.Scope().String(),
		Lineage:       hex.EncodeToString(lineage.ID[:]),
		FullHandshake: lineage.Start.UTC(),
		LineageEnds:   lineage.End.UTC(),
		Generation:    lineage.Generation,
		SingleUse:     s.SingleUse(),
	}
	d.Created, d.Expires = moment(s.Created().Unix()), moment(s.Expiry().Unix())
	d.TimeoutSeconds = int64(s.Timeout() / time.Second)
	if d.Created != nil && d.Expires != nil {
		*d.Created, *d.Expires = s.Created().UTC(), s.Expiry().UTC()
	}
	d.Certificates = nil
	for _, der := range s.PeerCertificates() {
		d.Certificates = append(d.Certificates, describeCertificate(der))
	}
	d.AppDataBytes = nil
	for _, data := range s.ApplicationData() {
		d.AppDataBytes = append(d.AppDataBytes, len(data))
	}
	if len(s.Opaque()) > 0 {
		d.SecretBytes = 0
	}
}

func describeCertificate(der []byte) certificate {
	digest := sha256.Sum256(der)
	c := certificate{Subject: "unreadable", SHA256: hex.EncodeToString(digest[:])}
	if parsed, err := x509.ParseCertificate(der); err == nil {
		c.Subject, c.Issuer = printable.Text([]byte(parsed.Subject.String())), printable.Text([]byte(parsed.Issuer.String()))
		if t := parsed.NotAfter.UTC(); t.Year() >= 0 && t.Year() <= 9999 {
			c.NotAfter = &t
		}
	}
	return c
}

// verifyUnspecified is X509_V_ERR_UNSPECIFIED: a session of ours does not keep the result.
const verifyUnspecified = 1

// year9999 is the last second that RFC 3339 and JSON can write.
const year9999 = 253402300799

// moment returns a time of OpenSSL, nil if it is absent or can't be written.
func moment(seconds int64) *time.Time {
	if seconds <= 0 || seconds > year9999 {
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}
