package wire

import (
	"crypto/tls"

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

// Marshal returns the message.
func (m *ServerHello) Marshal() ([]byte, error) {
	return message(KindServerHello, func(b *cryptobyte.Builder) {
		b.AddUint16(tls.VersionTLS12)
		b.AddBytes(m.Random[:])
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.SessionID) })
		b.AddUint16(m.CipherSuite)
		b.AddUint8(noCompression)
		if m.hasExtensions() {
			b.AddUint16LengthPrefixed(m.addExtensions)
		}
	})
}

func (m *ServerHello) hasExtensions() bool {
	return m.ALPN != "" || m.ExtendedMasterSecret || m.PointFormats || m.RenegotiationInfo || len(m.SCTs) > 0 ||
		m.ServerName || m.SessionTicket || m.StatusRequest
}

func (m *ServerHello) addExtensions(b *cryptobyte.Builder) {
	empty := func(*cryptobyte.Builder) {}
	add := func(present bool, kind uint16, data func(*cryptobyte.Builder)) {
		if present {
			b.AddUint16(kind)
			b.AddUint16LengthPrefixed(data)
		}
	}
	add(m.RenegotiationInfo, ExtensionRenegotiationInfo, func(b *cryptobyte.Builder) { b.AddUint8(0) })
	add(m.ServerName, ExtensionServerName, empty)
	add(m.PointFormats, ExtensionPointFormats, func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint8(0) // uncompressed
	})
	add(m.SessionTicket, ExtensionSessionTicket, empty)
	add(m.StatusRequest, ExtensionStatusRequest, empty)
	add(m.ExtendedMasterSecret, ExtensionExtendedMasterSecret, empty)
	add(m.ALPN != "", ExtensionALPN, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(m.ALPN)) })
		})
	})
	add(len(m.SCTs) > 0, ExtensionSCT, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, sct := range m.SCTs {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sct) })
			}
		})
	})
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
