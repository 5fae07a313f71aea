// Package wire has the handshake messages of TLS 1.2 as they travel (RFC 5246, section 7.4).
package wire

import (
	"crypto/tls"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Extension types of the ClientHello that this engine knows (IANA, TLS ExtensionType Values).
const (
	ExtensionServerName           uint16 = 0     // RFC 6066, section 3
	ExtensionStatusRequest        uint16 = 5     // RFC 6066, section 8
	ExtensionSupportedGroups      uint16 = 10    // RFC 8422, section 5.1.1
	ExtensionPointFormats         uint16 = 11    // RFC 8422, section 5.1.2
	ExtensionSignatureAlgorithms  uint16 = 13    // RFC 5246, section 7.4.1.4.1
	ExtensionALPN                 uint16 = 16    // RFC 7301
	ExtensionSCT                  uint16 = 18    // RFC 6962, section 3.3.1
	ExtensionExtendedMasterSecret uint16 = 23    // RFC 7627
	ExtensionSessionTicket        uint16 = 35    // RFC 5077
	ExtensionSupportedVersions    uint16 = 43    // RFC 8446, section 4.2.1
	ExtensionRenegotiationInfo    uint16 = 65281 // RFC 5746
)

// Signalling cipher suite values.
const (
	FallbackSCSV      uint16 = 0x5600 // RFC 7507
	RenegotiationSCSV uint16 = 0x00ff // RFC 5746, section 3.3
)

const (
	// noCompression is the compression method that everybody speaks (RFC 5246, section 7.4.1.2).
	noCompression = 0
	// statusTypeOCSP is the only type of certificate status (RFC 6066, section 8).
	statusTypeOCSP = 1
	// nameTypeHost is the only type of server name (RFC 6066, section 3).
	nameTypeHost = 0
)

// A ClientHello is a ClientHello message (RFC 5246, section 7.4.1.2).
type ClientHello struct {
	Version            uint16 // legacy_version
	Random             []byte
	SessionID          []byte
	CipherSuites       []uint16
	CompressionMethods []byte

	// Extensions are the types of the extensions, in order.
	Extensions []uint16

	ServerName           string
	StatusRequest        bool
	SupportedGroups      []tls.CurveID
	PointFormats         []byte
	SignatureAlgorithms  []tls.SignatureScheme
	ALPN                 []string
	SCT                  bool
	ExtendedMasterSecret bool
	// SessionTicket is nil if the extension is missing, and empty if the client has no ticket.
	SessionTicket []byte
	// SupportedVersions is nil if the extension is missing.
	SupportedVersions []uint16
	// RenegotiationInfo is nil if the extension is missing; the empty renegotiated_connection of a first handshake is not nil.
	RenegotiationInfo []byte
}

// Unmarshal reads the body of a ClientHello. It reports whether it was well-formed. The message keeps references to
// body.
func (m *ClientHello) Unmarshal(body []byte) bool {
	*m = ClientHello{}
	s := cryptobyte.String(body)
	if !s.ReadUint16(&m.Version) || !s.ReadBytes(&m.Random, 32) ||
		!readBytes8(&s, &m.SessionID) || len(m.SessionID) > 32 ||
		!readUint16s(&s, &m.CipherSuites) ||
		!readBytes8(&s, &m.CompressionMethods) || len(m.CompressionMethods) == 0 {
		return false
	}
	if s.Empty() {
		return true // RFC 5246, section 7.4.1.2: without extensions
	}
	var extensions cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return false
	}
	m.Extensions = make([]uint16, 0, 16) // nearly always enough
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		m.Extensions = append(m.Extensions, kind)
		if !m.readExtension(kind, &data) || !data.Empty() {
			return false
		}
	}
	return areDistinct(m.Extensions)
}

// areDistinct tells whether there is one extension of each type at most, as RFC 5246, section 7.4.1.4, demands. A hello has room for
// 16,000 of them, and to compare each with each would take longer than the handshake.
func areDistinct(kinds []uint16) bool {
	var memory [32]uint16 // nearly always enough
	sorted := append(memory[:0], kinds...)
	slices.Sort(sorted)
	return len(slices.Compact(sorted)) == len(kinds)
}

// Release gives up the lists of the message, which can be ten times as long as they were on the wire, when all was chosen from them.
func (m *ClientHello) Release() {
	m.CipherSuites, m.Extensions, m.SupportedGroups, m.SignatureAlgorithms, m.ALPN, m.SupportedVersions = nil, nil, nil, nil, nil, nil
}

// OffersVersion reports whether the body of a ClientHello has a version in its supported_versions extension (RFC 8446,
// section 4.2.1). It reads no more than that, and allocates nothing.
func OffersVersion(body []byte, version uint16) bool {
	s := cryptobyte.String(body)
	var skipped, extensions cryptobyte.String
	if !s.Skip(2+32) || !s.ReadUint8LengthPrefixed(&skipped) || !s.ReadUint16LengthPrefixed(&skipped) ||
		!s.ReadUint8LengthPrefixed(&skipped) || !s.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	for !extensions.Empty() {
		var kind uint16
		var data, versions cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		if kind != ExtensionSupportedVersions || !data.ReadUint8LengthPrefixed(&versions) {
			continue
		}
		for v := uint16(0); versions.ReadUint16(&v); {
			if v == version {
				return true
			}
		}
	}
	return false
}

// readExtension reads the extensions that are known, and passes over the others.
func (m *ClientHello) readExtension(kind uint16, data *cryptobyte.String) bool {
	switch kind {
	case ExtensionServerName:
		return m.readServerName(data)
	case ExtensionStatusRequest:
		var statusType uint8
		var responders, extensions cryptobyte.String
		if !data.ReadUint8(&statusType) || statusType != statusTypeOCSP {
			*data = nil // of a type to come
			return true
		}
		m.StatusRequest = true
		return data.ReadUint16LengthPrefixed(&responders) && data.ReadUint16LengthPrefixed(&extensions)
	case ExtensionSupportedGroups:
		return readUint16s(data, &m.SupportedGroups)
	case ExtensionPointFormats:
		return readBytes8(data, &m.PointFormats) && len(m.PointFormats) > 0
	case ExtensionSignatureAlgorithms:
		return readUint16s(data, &m.SignatureAlgorithms)
	case ExtensionALPN:
		return m.readALPN(data)
	case ExtensionSCT:
		m.SCT = true
	case ExtensionExtendedMasterSecret:
		m.ExtendedMasterSecret = true
	case ExtensionSessionTicket:
		m.SessionTicket = *data // not nil
		*data = nil
	case ExtensionSupportedVersions:
		var versions cryptobyte.String
		return data.ReadUint8LengthPrefixed(&versions) && readAllUint16s(versions, &m.SupportedVersions)
	case ExtensionRenegotiationInfo:
		var info cryptobyte.String
		if !data.ReadUint8LengthPrefixed(&info) {
			return false
		}
		m.RenegotiationInfo = append([]byte{}, info...) // not nil
	default:
		*data = nil
	}
	return true
}

// readServerName reads the host name. RFC 6066, section 3: there is at most one name of each type, and host_name is the only type.
func (m *ClientHello) readServerName(data *cryptobyte.String) bool {
	var names cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&names) || names.Empty() {
		return false
	}
	for !names.Empty() {
		var nameType uint8
		var name cryptobyte.String
		if !names.ReadUint8(&nameType) || !names.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return false
		}
		if nameType != nameTypeHost {
			continue
		}
		// A trailing dot is not part of the name. "Literal IPv4 and IPv6 addresses are not permitted", and accepted nevertheless, as
		// crypto/tls does: clients send them.
		if m.ServerName != "" || name[len(name)-1] == '.' {
			return false
		}
		m.ServerName = string(name)
	}
	return true
}

// readALPN reads the protocols. RFC 7301, section 3.1: none of them is empty.
func (m *ClientHello) readALPN(data *cryptobyte.String) bool {
	var protocols cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&protocols) || protocols.Empty() {
		return false
	}
	for !protocols.Empty() {
		var protocol cryptobyte.String
		if !protocols.ReadUint8LengthPrefixed(&protocol) || protocol.Empty() {
			return false
		}
		m.ALPN = append(m.ALPN, string(protocol))
	}
	return true
}

// OfferedVersions returns the versions that the client offers, of those that this engine knows (RFC 8446, section 4.2.1).
func (m *ClientHello) OfferedVersions() []uint16 {
	switch {
	case m.SupportedVersions != nil:
		return m.SupportedVersions
	case m.Version >= tls.VersionTLS12:
		return []uint16{tls.VersionTLS12}
	default:
		return nil
	}
}

// Offers reports whether the client offers a cipher suite, or sends a signalling value among them.
func (m *ClientHello) Offers(suite uint16) bool { return slices.Contains(m.CipherSuites, suite) }

// OffersNoCompression reports whether the client offers to send data as they are, as it must.
func (m *ClientHello) OffersNoCompression() bool {
	return slices.Contains(m.CompressionMethods, noCompression)
}

// readBytes8 reads an opaque<0..2^8-1>.
func readBytes8(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint8LengthPrefixed((*cryptobyte.String)(out))
}

// readUint16s reads a list of numbers behind its length. It must not be empty.
func readUint16s[T ~uint16](s *cryptobyte.String, out *[]T) bool {
	var list cryptobyte.String
	return s.ReadUint16LengthPrefixed(&list) && readAllUint16s(list, out)
}

func readAllUint16s[T ~uint16](list cryptobyte.String, out *[]T) bool {
	if list.Empty() || len(list)%2 != 0 {
		return false
	}
	*out = make([]T, 0, len(list)/2)
	for !list.Empty() {
		var v uint16
		if !list.ReadUint16(&v) {
			return false
		}
		*out = append(*out, T(v))
	}
	return true
}
