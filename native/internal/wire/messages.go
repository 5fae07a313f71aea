package wire

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"math"

	"golang.org/x/crypto/cryptobyte"
)

// A Kind is the type of a handshake message (RFC 5246, section 7.4).
type Kind uint8

// The handshake messages of TLS 1.2.
const (
	KindHelloRequest       Kind = 0
	KindClientHello        Kind = 1
	KindServerHello        Kind = 2
	KindNewSessionTicket   Kind = 4
	KindCertificate        Kind = 11
	KindServerKeyExchange  Kind = 12
	KindCertificateRequest Kind = 13
	KindServerHelloDone    Kind = 14
	KindCertificateVerify  Kind = 15
	KindClientKeyExchange  Kind = 16
	KindFinished           Kind = 20
	KindCertificateStatus  Kind = 22
)

// HeaderLength is the length in bytes of a message's header: its kind and the length of its body.
const HeaderLength = 4

// message writes a message with its header.
func message(kind Kind, body func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(uint8(kind))
	b.AddUint24LengthPrefixed(body)
	return b.Bytes()
}

// A ServerHello is a ServerHello message (RFC 5246, section 7.4.1.3).
type ServerHello struct {
	Random      [32]byte
	SessionID   []byte
	CipherSuite uint16

	ALPN                 string
	ExtendedMasterSecret bool
	PointFormats         bool // the uncompressed one
	RenegotiationInfo    bool // empty, as in a first handshake
	SCTs                 [][]byte
	ServerName           bool // acknowledged, empty
	SessionTicket        bool // a NewSessionTicket follows
	StatusRequest        bool // a CertificateStatus follows
}

// Marshal returns the message. Every connection has one, and a [cryptobyte.Builder] would allocate for each vector.
func (m *ServerHello) Marshal() ([]byte, error) {
	b := make([]byte, HeaderLength, 192) // nearly always enough
	b = binary.BigEndian.AppendUint16(b, tls.VersionTLS12)
	b = append(b, m.Random[:]...)
	b = append(b, byte(len(m.SessionID)))
	b = append(b, m.SessionID...)
	b = binary.BigEndian.AppendUint16(b, m.CipherSuite)
	b = append(b, noCompression)
	b, err := m.appendExtensions(b)
	if err != nil {
		return nil, err
	}
	length := len(b) - HeaderLength
	b[0], b[1], b[2], b[3] = byte(KindServerHello), byte(length>>16), byte(length>>8), byte(length)
	return b, nil
}

var errTooLong = errors.New("wire: a message is too long for its length prefix")

// appendExtensions appends the extensions with their length, or nothing if there are none.
func (m *ServerHello) appendExtensions(b []byte) ([]byte, error) {
	begin := len(b)
	b = append(b, 0, 0)
	add := func(present bool, kind uint16, data ...byte) {
		if present {
			b = binary.BigEndian.AppendUint16(b, kind)
			b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
			b = append(b, data...)
		}
	}
	add(m.RenegotiationInfo, ExtensionRenegotiationInfo, 0)
	add(m.ServerName, ExtensionServerName)
	add(m.PointFormats, ExtensionPointFormats, 1, 0) // the uncompressed one
	add(m.SessionTicket, ExtensionSessionTicket)
	add(m.StatusRequest, ExtensionStatusRequest)
	add(m.ExtendedMasterSecret, ExtensionExtendedMasterSecret)
	if n := len(m.ALPN); n > 0 {
		add(true, ExtensionALPN, append([]byte{byte((n + 1) >> 8), byte(n + 1), byte(n)}, m.ALPN...)...)
	}
	if len(m.SCTs) > 0 {
		list, err := marshalSCTs(m.SCTs)
		if err != nil {
			return nil, err
		}
		add(true, ExtensionSCT, list...)
	}
	length := len(b) - begin - 2
	if length == 0 {
		return b[:begin], nil
	}
	if length > math.MaxUint16 {
		return nil, errTooLong
	}
	binary.BigEndian.PutUint16(b[begin:], uint16(length))
	return b, nil
}

func marshalSCTs(scts [][]byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, sct := range scts {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sct) })
		}
	})
	return b.Bytes()
}

// MarshalCertificate returns a Certificate message with a chain in DER (RFC 5246, section 7.4.2).
func MarshalCertificate(chain [][]byte) ([]byte, error) {
	return message(KindCertificate, func(b *cryptobyte.Builder) {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, der := range chain {
				b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
			}
		})
	})
}

// UnmarshalCertificate reads the body of a Certificate message. The chain may be empty.
func UnmarshalCertificate(body []byte) (chain [][]byte, ok bool) {
	s := cryptobyte.String(body)
	var certificates cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&certificates) || !s.Empty() {
		return nil, false
	}
	for !certificates.Empty() {
		var der cryptobyte.String
		if !certificates.ReadUint24LengthPrefixed(&der) || der.Empty() {
			return nil, false
		}
		chain = append(chain, der)
	}
	return chain, true
}

// MarshalCertificateStatus returns a CertificateStatus message (RFC 6066, section 8).
func MarshalCertificateStatus(ocspResponse []byte) ([]byte, error) {
	return message(KindCertificateStatus, func(b *cryptobyte.Builder) {
		b.AddUint8(statusTypeOCSP)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(ocspResponse) })
	})
}

// KeyExchangeParams returns the ServerECDHParams that a server signs (RFC 8422, section 5.4).
func KeyExchangeParams(group tls.CurveID, public []byte) []byte {
	const namedCurve = 3
	params := []byte{namedCurve, byte(group >> 8), byte(group), byte(len(public))}
	return append(params, public...)
}

// MarshalServerKeyExchange returns a ServerKeyExchange message (RFC 8422, section 5.4).
func MarshalServerKeyExchange(params []byte, scheme tls.SignatureScheme, signature []byte) ([]byte, error) {
	return message(KindServerKeyExchange, func(b *cryptobyte.Builder) {
		b.AddBytes(params)
		b.AddUint16(uint16(scheme))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	})
}

// MarshalCertificateRequest returns a CertificateRequest message (RFC 5246, section 7.4.4).
func MarshalCertificateRequest(schemes []tls.SignatureScheme, authorities [][]byte) ([]byte, error) {
	const rsaSign, ecdsaSign = 1, 64
	return message(KindCertificateRequest, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte{rsaSign, ecdsaSign}) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, scheme := range schemes {
				b.AddUint16(uint16(scheme))
			}
		})
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, name := range authorities {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(name) })
			}
		})
	})
}

// MarshalServerHelloDone returns a ServerHelloDone message (RFC 5246, section 7.4.5).
func MarshalServerHelloDone() []byte { return []byte{byte(KindServerHelloDone), 0, 0, 0} }

// UnmarshalClientKeyExchange reads the body of a ClientKeyExchange of ECDHE: the client's public key (RFC 8422, section
// 5.7).
func UnmarshalClientKeyExchange(body []byte) (public []byte, ok bool) {
	s := cryptobyte.String(body)
	ok = readBytes8(&s, &public) && s.Empty() && len(public) > 0
	return public, ok
}

// UnmarshalCertificateVerify reads the body of a CertificateVerify (RFC 5246, section 7.4.8).
func UnmarshalCertificateVerify(body []byte) (scheme tls.SignatureScheme, signature []byte, ok bool) {
	s := cryptobyte.String(body)
	ok = s.ReadUint16((*uint16)(&scheme)) && s.ReadUint16LengthPrefixed((*cryptobyte.String)(&signature)) && s.Empty()
	return scheme, signature, ok
}

// MarshalNewSessionTicket returns a NewSessionTicket message (RFC 5077, section 3.3). lifetimeHint is in seconds.
func MarshalNewSessionTicket(lifetimeHint uint32, ticket []byte) ([]byte, error) {
	return message(KindNewSessionTicket, func(b *cryptobyte.Builder) {
		b.AddUint32(lifetimeHint)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(ticket) })
	})
}

// MarshalFinished returns a Finished message (RFC 5246, section 7.4.9).
func MarshalFinished(verifyData []byte) []byte {
	return append([]byte{byte(KindFinished), 0, 0, byte(len(verifyData))}, verifyData...)
}
