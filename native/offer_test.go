package native_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

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

// A recorded connection keeps what is written.
type recorded struct {
	net.Conn
	output []byte
}

func (c *recorded) Write(b []byte) (int, error) {
	c.output = append(c.output, b...)
	return c.Conn.Write(b)
}

// TestLifetimeHint: the ticket says how long the session lives, in seconds, and never 0, by which clients such as Java's throw
// it away (RFC 5077, section 3.3).
func TestLifetimeHint(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	for _, test := range []struct {
		timeout time.Duration
		hint    uint32
	}{
		{2 * time.Hour, 7200},
		{90*time.Second + 900*time.Millisecond, 90},
		{time.Millisecond, 1},
	} {
		cache := newCache(t, reprise.Options{})
		cache.SetTimeout(test.timeout)
		a, b := tcpPair(t)
		below := &recorded{Conn: b}
		client := tls.Client(a, &tls.Config{
			RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		})
		server := native.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
		done := make(chan error, 1)
		go func() { done <- client.Handshake() }()
		if err := errors.Join(server.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		if hint, ok := lifetimeHint(t, below.output); !ok || hint != test.hint {
			t.Errorf("timeout %v: lifetime hint %d (%v), want %d", test.timeout, hint, ok, test.hint)
		}
	}
}

// lifetimeHint returns the one of the NewSessionTicket among what a server has written, which is not encrypted.
func lifetimeHint(t *testing.T, output []byte) (hint uint32, ok bool) {
	t.Helper()
	const newSessionTicket = 4
	for _, record := range records(t, output) {
		if record[0] == handshakeRecord && record[5] == newSessionTicket {
			return binary.BigEndian.Uint32(record[9:]), true
		}
	}
	return 0, false
}
