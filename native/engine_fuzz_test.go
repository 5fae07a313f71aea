package native_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// A scripted connection reads what it was given and then the end of the stream.
type scripted struct {
	net.Conn
	input []byte
}

func (c *scripted) Read(b []byte) (int, error) {
	if len(c.input) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.input)
	c.input = c.input[n:]
	return n, nil
}

func (c *scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// A recorder notes what is read.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	bytes []byte
}

func (c *recorder) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = append(c.bytes, b[:n]...)
	return n, err
}

// clientFlight returns what a client of crypto/tls sends in a handshake with native.
func clientFlight(tb testing.TB, server *tls.Config, client *tls.Config) []byte {
	tb.Helper()
	cache, err := reprise.New(reprise.Options{Context: []byte("fuzz")})
	if err != nil {
		tb.Fatal(err)
	}
	a, b := net.Pipe()
	recorded := &recorder{Conn: b}
	go func() {
		conn := tls.Client(a, client)
		if _, err := conn.Write([]byte("data")); err != nil {
			tb.Errorf("client: %v", err)
		}
		conn.Close()
	}()
	conn := native.Server(recorded, server, cache)
	if _, err := io.Copy(io.Discard, conn); err != nil {
		tb.Errorf("server: %v", err)
	}
	conn.Close()
	return recorded.bytes
}

// FuzzEngine feeds the whole engine with what a client may send: it neither panics nor hangs, and only a genuine Finished
// completes a handshake.
func FuzzEngine(f *testing.F) {
	authority, certificate := certtest.Shared(f)
	server := &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authority.Pool(),
	}
	client := &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	f.Add(clientFlight(f, server, client))
	withCertificate := client.Clone()
	withCertificate.Certificates = []tls.Certificate{authority.Client(f, "client", time.Time{})}
	f.Add(clientFlight(f, server, withCertificate))
	f.Fuzz(func(t *testing.T, input []byte) {
		cache, err := reprise.New(reprise.Options{Context: []byte("fuzz")})
		if err != nil {
			t.Fatal(err)
		}
		conn := native.Server(&scripted{input: input}, server, cache)
		if err := conn.Handshake(); err == nil {
			t.Error("a handshake was completed with a recorded flight")
		}
		if cache.Stats().Number != 0 {
			t.Error("a session was made")
		}
		conn.Close()
	})
}
