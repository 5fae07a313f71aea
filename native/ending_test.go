package native_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// tcpPair returns both ends of a TCP connection.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// A counter counts what is written to a connection, and garbles it when it is told to.
type counter struct {
	net.Conn
	garble  atomic.Bool
	written atomic.Int32
}

func (w *counter) Write(b []byte) (int, error) {
	w.written.Add(1)
	if w.garble.Load() {
		b = append([]byte{}, b...)
		b[len(b)-1] ^= 1
	}
	return w.Conn.Write(b)
}

// reset ends a TCP connection without a word.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// established returns both ends of a connection after its handshake.
func established(t *testing.T, cache *reprise.Cache) (client *tls.Conn, server *native.Conn, below *counter) {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	below = &counter{Conn: b}
	client = tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	server = native.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server, below
}

// TestEndWithoutCloseNotify: net/http answers any other error between two requests with 400.
func TestEndWithoutCloseNotify(t *testing.T) {
	client, server, _ := established(t, newCache(t, reprise.Options{}))
	client.NetConn().Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read after the end of the stream: %v, want %v", err, io.EOF)
	}
	if server.CloseNotifyReceived() {
		t.Error("there was no close_notify")
	}
}

func TestCloseNotifyReceived(t *testing.T) {
	client, server, _ := established(t, newCache(t, reprise.Options{}))
	client.Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || !server.CloseNotifyReceived() {
		t.Errorf("Read: %v; close_notify received: %v", err, server.CloseNotifyReceived())
	}
}

func TestEndWithinRecord(t *testing.T) {
	client, server, _ := established(t, newCache(t, reprise.Options{}))
	if _, err := client.NetConn().Write([]byte{23, 3, 3, 0, 100, 1}); err != nil {
		t.Fatal(err)
	}
	client.NetConn().Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Read after the end of the stream: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// TestNothingIsSentAfterAFatalAlert: RFC 5246, section 7.2.2.
func TestNothingIsSentAfterAFatalAlert(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	client, server, below := established(t, cache)
	below.garble.Store(true)
	if _, err := server.Write([]byte("garbled")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Fatal("the client has accepted it")
	}
	_, err := server.Read(make([]byte, 1))
	if received, ok := errors.AsType[*native.AlertError](err); !ok || received.Alert != 20 {
		t.Fatalf("Read: %v, want the alert bad record MAC", err)
	}
	before := below.written.Load()
	if _, err := server.Write([]byte("more")); err == nil {
		t.Error("Write succeeded after a fatal alert")
	}
	server.Close()
	if n := below.written.Load() - before; n != 0 {
		t.Errorf("%d writes after a fatal alert", n)
	}
	if n := cache.Stats().Number; n != 0 {
		t.Errorf("%d sessions after a fatal alert", n)
	}
}

// TestSessionOfAClientThatBreaksOff: an error of the network is not our fault, and the session stays.
func TestSessionOfAClientThatBreaksOff(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	client, server, _ := established(t, cache)
	reset(t, client.NetConn())
	for err := error(nil); err == nil; { // until the reset has arrived
		_, err = server.Write([]byte("too late"))
	}
	server.Close()
	if n := cache.Stats().Number; n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	if _, err := server.Write([]byte("after Close")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v, want %v", err, net.ErrClosed)
	}
}

// TestSessionOfAConnectionThatIsCutHere: our side has closed it without close_notify, as SSL_free(3) does, and the session goes.
func TestSessionOfAConnectionThatIsCutHere(t *testing.T) {
	for _, closedByPeer := range []bool{false, true} {
		cache := newCache(t, reprise.Options{})
		client, server, below := established(t, cache)
		if closedByPeer {
			client.Close()
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("Read: %v, want %v", err, io.EOF)
			}
		}
		below.Conn.Close()
		server.Close()
		if n := cache.Stats().Number; n != 0 {
			t.Errorf("closed by the peer %t: %d sessions, want none", closedByPeer, n)
		}
	}
}

// TestExporterOfConnectionState returns an error, and does not panic.
func TestExporterOfConnectionState(t *testing.T) {
	_, server, _ := established(t, newCache(t, reprise.Options{}))
	state := server.ConnectionState()
	if !state.HandshakeComplete || state.Version != tls.VersionTLS12 || state.TLSUnique != nil {
		t.Errorf("state %+v", state)
	}
	if _, err := state.ExportKeyingMaterial("label", nil, 32); err == nil {
		t.Error("ExportKeyingMaterial of the state succeeded")
	}
	if _, err := server.ExportKeyingMaterial("label", nil, 32); err != nil {
		t.Error(err)
	}
	server.Close()
	if _, err := server.ExportKeyingMaterial("label", nil, 32); err == nil {
		t.Error("ExportKeyingMaterial succeeded after Close, when the secret is overwritten")
	}
	a, b := net.Pipe()
	defer a.Close()
	before := native.Server(b, &tls.Config{}, newCache(t, reprise.Options{})).ConnectionState()
	if _, err := before.ExportKeyingMaterial("label", nil, 32); err == nil {
		t.Error("ExportKeyingMaterial succeeded before the handshake")
	}
}

// TestContextOfHandshake: when it is done, the handshake ends with its error.
func TestContextOfHandshake(t *testing.T) {
	_, b := tcpPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, certificate := certtest.Shared(t)
	server := native.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}}, newCache(t, reprise.Options{}))
	for range 2 {
		if err := server.HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("handshake: %v, want %v", err, context.DeadlineExceeded)
		}
	}
}

// TestCloseFromEverywhere: goroutines that shake hands, read, write and close at once all come to an end.
func TestCloseFromEverywhere(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	for i := range 50 {
		cache := newCache(t, reprise.Options{})
		a, b := tcpPair(t)
		client := tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
		server := native.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
		var all sync.WaitGroup
		all.Go(func() { _, _ = io.Copy(client, client) }) // until the server closes
		for range 2 {
			all.Go(func() { _, _ = io.Copy(io.Discard, server) })
			all.Go(func() {
				for {
					if _, err := server.Write(make([]byte, 20_000)); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				time.Sleep(time.Duration(i) * 200 * time.Microsecond)
				server.Close()
			})
		}
		all.Wait()
		client.Close()
	}
}
