package native_test

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// TestWhatNamesTheSession: a ticket decides alone, and the session ID beside it is echoed if it resumes, and neither looked up nor
// removed; without a ticket the session ID decides (RFC 5077, section 3.4).
func TestWhatNamesTheSession(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	_, client, server := tampered(t, cache)
	id := server.Session().ID().Bytes()
	server.Close()
	client.Close()

	unknown := bytes.Repeat([]byte{7}, len(id))
	ticket := func(t []byte) []byte { return append([]byte{0, 35, 0, byte(len(t))}, t...) }
	_, certificate := certtest.Shared(t)
	for _, test := range []struct {
		name      string
		sessionID []byte
		ticket    []byte // the extension
		resumes   bool
	}{
		{"session ID", id, nil, true},
		{"session ID, takes tickets", id, noTicketYet, true},
		{"ticket", nil, ticket(id), true},
		{"ticket, session ID that was made up", unknown, ticket(id), true},
		{"ticket, session ID of one byte", unknown[:1], ticket(id), true},
		{"unknown ticket, session ID", id, ticket(unknown), false},
		{"longer ticket, session ID", id, ticket(append(bytes.Clone(id), 0)), false},
		{"shorter session ID", id[:31], nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			extendedMasterSecret := []byte{0, 23, 0, 0}
			serverName := append([]byte{0, 0, 0, 14, 0, 12, 0, 0, 9}, "a.example"...)
			conn := &captured{scripted: scripted{input: helloWith(test.sessionID, 0, extendedMasterSecret, serverName, test.ticket)}}
			server := native.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
			if server.Handshake() == nil {
				t.Fatal("handshake complete")
			}
			server.Close()
			answer := records(t, conn.output)
			if resumes := len(answer) > 1 && answer[1][0] == changeCipherSpec; resumes != test.resumes {
				t.Fatalf("resumes: %v, want %v", resumes, test.resumes)
			}
			const at = 5 + 4 + 2 + 32 // behind the headers, the version and the random
			echoed := answer[0][at+1:][:answer[0][at]]
			if equal := bytes.Equal(echoed, test.sessionID); equal != test.resumes {
				t.Errorf("session ID %x is answered with %x", test.sessionID, echoed)
			}
			if n := cache.Stats().Number; n != 1 {
				t.Errorf("%d sessions, want 1", n)
			}
		})
	}
}
