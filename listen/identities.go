package listen

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/reprise-tls/reprise"
)

// What leads to the PSK identities of a ClientHello.
const (
	recordTypeHandshake   = 22 // RFC 8446, section 5.1
	messageClientHello    = 1  // RFC 8446, section 4
	extensionPreSharedKey = 41 // RFC 8446, section 4.2.11
)

// offeredSessions returns the PSK identities that crypto/tls will look for, as far as they can be session IDs, of a client of TLS 1.3
// that has sent the bytes read. It returns none of all but a ClientHello that came as a whole, in one record: what crypto/tls makes of
// other bytes is for it to tell.
func offeredSessions(read []byte) []reprise.SessionID {
	identities := identitiesOf(helloOf(read))
	var ids [reprise.MaxLookups]reprise.SessionID
	n := 0
	for range ids {
		var identity cryptobyte.String
		if !identities.ReadUint16LengthPrefixed(&identity) || !identities.Skip(4) { // obfuscated_ticket_age
			break
		}
		if id, err := reprise.MakeSessionID(identity); err == nil {
			ids[n] = id
			n++
		}
	}
	return append([]reprise.SessionID(nil), ids[:n]...) // memory for those alone, and none if there are none
}

// helloOf returns the ClientHello that bytes begin with, nil if there is none as a whole.
func helloOf(read cryptobyte.String) (hello cryptobyte.String) {
	var recordType, messageType uint8
	var version uint16
	var record cryptobyte.String
	if !read.ReadUint8(&recordType) || recordType != recordTypeHandshake || !read.ReadUint16(&version) ||
		!read.ReadUint16LengthPrefixed(&record) ||
		!record.ReadUint8(&messageType) || messageType != messageClientHello || !record.ReadUint24LengthPrefixed(&hello) {
		return nil
	}
	return hello
}

// identitiesOf returns the list of PSK identities of a ClientHello, nil if there is none. RFC 8446, section 4.2.11: pre_shared_key is the
// last extension.
func identitiesOf(hello cryptobyte.String) (identities cryptobyte.String) {
	var session, suites, compression, extensions, last cryptobyte.String
	if !hello.Skip(2+32) || !hello.ReadUint8LengthPrefixed(&session) || !hello.ReadUint16LengthPrefixed(&suites) ||
		!hello.ReadUint8LengthPrefixed(&compression) || !hello.ReadUint16LengthPrefixed(&extensions) {
		return nil
	}
	kind := uint16(0)
	for !extensions.Empty() {
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&last) {
			return nil
		}
	}
	if kind != extensionPreSharedKey || !last.ReadUint16LengthPrefixed(&identities) {
		return nil
	}
	return identities
}
