package stdtls_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/internal/hellotest"
)

// A hello is a ClientHello that no honest client sends.
type hello struct {
	version    uint16
	serverName string
	ticket     []byte   // TLS 1.2; nil: no session_ticket extension
	identities [][]byte // TLS 1.3; with binders of zeros
	noEMS      bool
	from       string // the client's address; empty: any
}

// marshal returns the hello as one record.
func (h *hello) marshal(t *testing.T) []byte {
	t.Helper()
	same := hellotest.Hello{
		Version: h.version, ServerName: h.serverName, Ticket: h.ticket, Identities: h.identities, NoExtendedMasterSecret: h.noEMS,
	}
	return same.Marshal(t)
}

// send sends the hello on a connection of its own, returns the first bytes of the answer, and goes away.
func (h *hello) send(t *testing.T, addr string) (answer []byte) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(h.from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(h.marshal(t)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyN(&got, conn, 6); err != nil && got.Len() == 0 {
		return nil // closed without an answer
	}
	return got.Bytes()
}

// isServerHello tells whether an answer begins with a ServerHello.
func isServerHello(answer []byte) bool { return len(answer) == 6 && answer[0] == 22 && answer[5] == 2 }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func randomIdentities(n int) [][]byte {
	identities := make([][]byte, n)
	for i := range identities {
		identities[i] = random(32)
	}
	return identities
}
