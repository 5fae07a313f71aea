package native_test

import (
	"bytes"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// Extensions of a ClientHello, each with its length.
var (
	supportedGroups     = []byte{0, 10, 0, 6, 0, 4, 0, 29, 0, 23}
	signatureAlgorithms = []byte{0, 13, 0, 4, 0, 2, 4, 3}
	noTicketYet         = []byte{0, 35, 0, 0}
	unknownTicket       = []byte{0, 35, 0, 3, 1, 2, 3}
	renegotiation       = []byte{0xff, 1, 0, 2, 1, 7}
)

// helloWith returns the record of a ClientHello.
func helloWith(sessionID []byte, compression byte, extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, byte(len(sessionID)))
	body = append(body, sessionID...)
	body = append(body, 0, 2, 0xc0, 0x2b, 1, compression) // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	all := bytes.Join(append([][]byte{supportedGroups, signatureAlgorithms}, extensions...), nil)
	body = append(body, byte(len(all)>>8), byte(len(all)))
	body = append(body, all...)
	return plainRecord(handshakeRecord, append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)...)
}

// answer returns the first record that a server answers a hello with.
func answer(t *testing.T, hello []byte) []byte {
	t.Helper()
	_, certificate := certtest.Shared(t)
	conn := &captured{scripted: scripted{input: hello}}
	server := native.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}, newCache(t, reprise.Options{}))
	if server.Handshake() == nil {
		t.Fatal("handshake complete")
	}
	server.Close()
	return records(t, conn.output)[0]
}

// TestSessionIDOfServerHello: RFC 5246, section 7.4.1.3, and RFC 5077, section 3.4.
func TestSessionIDOfServerHello(t *testing.T) {
	unknown := bytes.Repeat([]byte{7}, 32)
	for _, test := range []struct {
		name       string
		sessionID  []byte
		extensions [][]byte
		length     int
	}{
		{"nothing offered", nil, nil, 32},
		{"unknown ID", unknown, nil, 32},
		{"takes tickets", nil, [][]byte{noTicketYet}, 0},
		{"takes tickets, unknown ID", unknown, [][]byte{noTicketYet}, 0},
		{"unknown ticket", unknown, [][]byte{unknownTicket}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			serverHello := answer(t, helloWith(test.sessionID, 0, test.extensions...))
			if serverHello[0] != handshakeRecord {
				t.Fatalf("the server answers %x", serverHello)
			}
			const at = 5 + 4 + 2 + 32 // behind the headers, the version and the random
			id := serverHello[at+1:][:serverHello[at]]
			if len(id) != test.length || bytes.Equal(id, unknown) {
				t.Errorf("session ID %x, want one of %d bytes", id, test.length)
			}
		})
	}
}

// TestRefusedHello: a ClientHello that no negotiation can help is answered with its alert.
func TestRefusedHello(t *testing.T) {
	for _, test := range []struct {
		name  string
		hello []byte
		alert byte
	}{
		{"session ID of 33 bytes", helloWith(make([]byte, 33), 0), 50},
		{"compression", helloWith(nil, 1), 47},
		{"extension twice", helloWith(nil, 0, noTicketYet, noTicketYet), 50},
		{"renegotiation", helloWith(nil, 0, renegotiation), 40}, // RFC 5746, section 3.6
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, want := answer(t, test.hello), plainRecord(alertRecord, 2, test.alert); !slices.Equal(got, want) {
				t.Errorf("the server answers %x, want %x", got, want)
			}
		})
	}
}
