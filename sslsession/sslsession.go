package sslsession

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An SSLSession is OpenSSL's SSL_SESSION, field by field as its ASN.1 form has them. The number in brackets is the field's tag.
//
// Fields of bytes are absent if nil, and present if empty; a field that is not an OCTET STRING is absent if zero. [4]
// and [19] are written always, as OpenSSL does. OpenSSL has a meaning for some absent fields, which is told with them;
// Parse and Marshal do not apply it.
//
// It is a plain value: copies share the bytes of its fields, and the methods only read it. It prints neither its secret
// nor its handles; whoever reads the fields does so on purpose.
type SSLSession struct {
	// Version is the protocol version: 0x03XX, or 0xFEXX and 0x0100 of DTLS.
	Version uint16
	// CipherSuite is the IANA code of the cipher suite. OpenSSL reads only suites that it knows.
	CipherSuite uint16
	// SessionID has at most 32 bytes; none in a session that is resumed by a TLS 1.2 ticket.
	SessionID []byte
	// Secret is the master secret, or the resumption PSK of TLS 1.3; at most 512 bytes.
	Secret []byte
	// Time [1] is when the session was made, in seconds since the Unix epoch. Absent, OpenSSL takes the time of reading.
	Time int64
	// Timeout [2] is for how many seconds after Time the session resumes. Absent, OpenSSL takes 3.
	Timeout int64
	// PeerCertificate [3] is the peer's certificate in DER. The rest of its chain is not in an SSL_SESSION.
	PeerCertificate []byte
	// SessionIDContext [4] has at most 32 bytes.
	SessionIDContext []byte
	// VerifyResult [5] is the result of verifying the peer's certificate: 0 is X509_V_OK.
	VerifyResult int32
	// ServerName [6] is the name that the client asked for and the server acknowledged, as it was spelled.
	ServerName []byte
	// PSKIdentityHint [7] and PSKIdentity [8] belong to the PSK suites of TLS 1.2 (RFC 4279).
	PSKIdentityHint, PSKIdentity []byte
	// TicketLifetimeHint [9] is the lifetime that came with Ticket, in seconds. Clients have it.
	TicketLifetimeHint uint64
	// Ticket [10] is what the server sent in NewSessionTicket. Clients have it.
	Ticket []byte
	// Compression [11] is the compression method, 0 if none.
	Compression uint8
	// SRPUsername [12] is the user of an SRP suite (RFC 5054).
	SRPUsername []byte
	// Flags [13] has [FlagExtendedMasterSecret].
	Flags uint32
	// TicketAgeAdd [14] is the ticket_age_add of a TLS 1.3 ticket.
	TicketAgeAdd uint32
	// MaxEarlyData [15] is the max_early_data_size of a TLS 1.3 ticket.
	MaxEarlyData uint32
	// ALPN [16] is the protocol that was negotiated.
	ALPN []byte
	// MaxFragmentLength [17] is the code of RFC 6066, section 4, 1 to 4, if that was negotiated.
	MaxFragmentLength uint8
	// TicketAppData [18] is data of the application (SSL_SESSION_set1_ticket_appdata(3)); what [FromSession] puts there
	// is told in the package's documentation. OpenSSL hands it on to the sessions that descend from this one.
	TicketAppData []byte
	// KeyExchangeGroup [19] is the group of the key exchange, 0 if not known. OpenSSL 1.1.1 does not write it.
	KeyExchangeGroup uint32
	// PeerPublicKey [20] is the peer's raw public key (RFC 7250), a SubjectPublicKeyInfo in DER. OpenSSL knows it since 3.2, and
	// earlier releases do not read a session that has one.
	PeerPublicKey []byte
}

// FlagExtendedMasterSecret in Flags tells that Secret is an extended master secret (RFC 7627).
const FlagExtendedMasterSecret = 1

// ExtendedMasterSecret reports whether the flag is set.
func (x *SSLSession) ExtendedMasterSecret() bool { return x.Flags&FlagExtendedMasterSecret != 0 }

// elements returns the elements of the SEQUENCE in their order, bound to the fields of x: whatever there is to know of a
// tag stands here.
func (x *SSLSession) elements() []element {
	return []element{
		{untagged, "structure version", structureVersion{}},
		{untagged, "protocol version", protocolVersion{&x.Version}},
		{untagged, "cipher suite", suite{&x.CipherSuite}},
		{untagged, "session ID", required{octets{&x.SessionID, 32}}},
		{untagged, "secret", required{octets{&x.Secret, 512}}},
		{1, "time", integer[int64]{&x.Time}},
		{2, "timeout", integer[int64]{&x.Timeout}},
		{3, "peer certificate", sequence{&x.PeerCertificate}},
		{4, "session ID context", required{octets{&x.SessionIDContext, 32}}},
		{5, "verify result", integer[int32]{&x.VerifyResult}},
		{6, "server name", text{octets{&x.ServerName, noLimit}}},
		{7, "PSK identity hint", text{octets{&x.PSKIdentityHint, noLimit}}},
		{8, "PSK identity", text{octets{&x.PSKIdentity, noLimit}}},
		{9, "ticket lifetime hint", integer[uint64]{&x.TicketLifetimeHint}},
		{10, "ticket", octets{&x.Ticket, noLimit}},
		{11, "compression", octet{&x.Compression}},
		{12, "SRP user name", text{octets{&x.SRPUsername, noLimit}}},
		{13, "flags", integer[uint32]{&x.Flags}},
		{14, "ticket age_add", integer[uint32]{&x.TicketAgeAdd}},
		{15, "max early data", integer[uint32]{&x.MaxEarlyData}},
		{16, "ALPN", octets{&x.ALPN, noLimit}},
		{17, "max fragment length", integer[uint8]{&x.MaxFragmentLength}},
		{18, "ticket application data", octets{&x.TicketAppData, noLimit}},
		{19, "key exchange group", required{integer[uint32]{&x.KeyExchangeGroup}}},
		{20, "peer public key", octets{&x.PeerPublicKey, noLimit}},
	}
}

// errMalformed is wrapped by every error of [Parse] and [ParsePEM].
var errMalformed = errors.New("sslsession: malformed session")

// Parse decodes the DER form of a session that der begins with, and returns the bytes after it, as d2i_SSL_SESSION(3)
// moves its caller's pointer behind the session. The result shares no memory with der.
//
// An error names the field that is malformed. See the package's documentation for what is accepted.
func Parse(der []byte) (x *SSLSession, rest []byte, err error) {
	r := cryptobyte.String(der)
	var body cryptobyte.String
	if !r.ReadASN1(&body, asn1.SEQUENCE) {
		return nil, nil, fmt.Errorf("%w: not a SEQUENCE in DER", errMalformed)
	}
	x = new(SSLSession)
	elements := x.elements()
	for i, e := range elements {
		if i == firstTagged && !body.SkipOptionalASN1(keyArg) {
			return nil, nil, fmt.Errorf("%w: [0] key_arg: bad length", errMalformed)
		}
		if err := e.read(&body); err != nil {
			return nil, nil, fmt.Errorf("%w: %v: %w", errMalformed, e, err)
		}
	}
	if !body.Empty() {
		return nil, nil, fmt.Errorf("%w: %s", errMalformed, describeLeftOver(elements, body[0]))
	}
	return x, r, nil
}

// keyArg is the tag of a field of SSL 2.0, the only one with an implicit tag. OpenSSL passes over it where it comes, in front
// of the first tagged field, and never writes it.
var keyArg = asn1.Tag(0).ContextSpecific()

// firstTagged is where in elements the tagged ones begin.
const firstTagged = 5

// describeLeftOver tells what is wrong with an element that Parse has not come to, by its identifier octet.
func describeLeftOver(elements []element, identifier byte) string {
	for _, e := range elements {
		if e.tag != untagged && byte(e.asn1Tag()) == identifier {
			return fmt.Sprintf("%v: a second time, or not in ascending order", e)
		}
	}
	return fmt.Sprintf("unknown element with identifier octet %#02x", identifier)
}

// Marshal encodes the session in DER, as i2d_SSL_SESSION(3) does: byte for byte what OpenSSL writes of the same session. The result
// holds the secret. An error names the field that has a value which OpenSSL would not read.
func (x *SSLSession) Marshal() ([]byte, error) {
	elements := x.elements()
	for _, e := range elements {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("sslsession: %v: %w", e, err)
		}
	}
	var w cryptobyte.Builder
	w.AddASN1(asn1.SEQUENCE, func(w *cryptobyte.Builder) {
		for _, e := range elements {
			e.write(w)
		}
	})
	return w.Bytes()
}
