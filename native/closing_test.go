package native_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// A hooked connection calls functions, where they are not nil.
type hooked struct {
	net.Conn
	afterRead, beforeWrite, afterWrite func()
}

func (c *hooked) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.afterRead != nil {
		c.afterRead()
	}
	return n, err
}

func (c *hooked) Write(b []byte) (int, error) {
	if c.beforeWrite != nil {
		c.beforeWrite()
	}
	n, err := c.Conn.Write(b)
	if c.afterWrite != nil {
		c.afterWrite()
	}
	return n, err
}

// shakeHands makes a handshake over a hooked connection. prepare may be nil.
func shakeHands(t *testing.T, cache *reprise.Cache, prepare func(*native.Conn, *hooked)) (client *tls.Conn, server *native.Conn, below *hooked) {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	below = &hooked{Conn: b}
	client = tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	server = native.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	if prepare != nil {
		prepare(server, below)
	}
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server, below
}

// TestCloseJustBeforeTheHandshakeIsComplete: the end is told all the same, and it was no clean one.
func TestCloseJustBeforeTheHandshakeIsComplete(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	_, server, _ := shakeHands(t, cache, func(server *native.Conn, below *hooked) {
		flights := 0
		below.afterWrite = func() {
			if flights++; flights == 2 { // the Finished is on its way
				server.Close()
			}
		}
	})
	if _, err := server.ExportKeyingMaterial("label", nil, 32); err == nil {
		t.Error("the exporter has its secret still")
	}
	if n := cache.Stats().Number; n != 0 {
		t.Errorf("%d sessions after a connection without close_notify", n)
	}
}

// TestSessionIsThereBeforeTheLastFlight: a client may come back as soon as it has that.
func TestSessionIsThereBeforeTheLastFlight(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	var sessions []int
	shakeHands(t, cache, func(_ *native.Conn, below *hooked) {
		below.beforeWrite = func() { sessions = append(sessions, cache.Stats().Number) }
	})
	if len(sessions) != 2 || sessions[1] != 1 {
		t.Errorf("sessions before each flight: %v", sessions)
	}
}

// TestLastFlightThatCanNotBeSent: the handshake has failed, and nobody resumes the session.
func TestLastFlightThatCanNotBeSent(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	cache := newCache(t, reprise.Options{})
	var removed []reprise.Removal
	cache.SetRemoveCallback(func(_ *reprise.Cache, _ *reprise.Session, why reprise.Removal, _ bool) {
		removed = append(removed, why)
	})
	a, b := tcpPair(t)
	below := &hooked{Conn: b}
	flights := 0
	below.beforeWrite = func() {
		if flights++; flights == 2 {
			b.Close()
		}
	}
	client := tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	go func() { _ = client.Handshake() }() // fails, too
	server := native.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	if err := server.Handshake(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want %v", err, net.ErrClosed)
	}
	if n := cache.Stats().Number; n != 0 || len(removed) != 1 || removed[0] != reprise.RemovedUnclean {
		t.Errorf("%d sessions, removed for %v", n, removed)
	}
}

// TestCloseDuringAWriteToAPeerThatHasGone: close_notify can't be sent, and nobody misses it.
func TestCloseDuringAWriteToAPeerThatHasGone(t *testing.T) {
	for _, hasGone := range []bool{true, false} {
		cache := newCache(t, reprise.Options{})
		client, server, below := shakeHands(t, cache, nil)
		if hasGone {
			client.Close()
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatalf("Read: %v, want %v", err, io.EOF)
			}
		}
		begun, closed := make(chan struct{}), make(chan struct{})
		below.beforeWrite = func() { close(begun); <-closed }
		written := make(chan error, 1)
		go func() {
			_, err := server.Write([]byte("too late"))
			written <- err
		}()
		<-begun
		server.Close()
		close(closed)
		if err := <-written; err == nil {
			t.Error("the write succeeded")
		}
		want := 0
		if hasGone {
			want = 1
		}
		if n := cache.Stats().Number; n != want {
			t.Errorf("peer has gone %v: %d sessions, want %d", hasGone, n, want)
		}
	}
}

// TestCloseDuringARead: memory that somebody reads into is not given to others.
func TestCloseDuringARead(t *testing.T) {
	client, server, below := shakeHands(t, newCache(t, reprise.Options{}), nil)
	arrived, closed := make(chan struct{}), make(chan struct{})
	below.afterRead = func() { close(arrived); <-closed }
	read := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, err := server.Read(b)
		if err != nil {
			t.Error(err)
		}
		read <- string(b[:n])
	}()
	if _, err := client.Write([]byte("what was sent")); err != nil {
		t.Fatal(err)
	}
	<-arrived
	server.Close()
	close(closed)
	if got := <-read; got != "what was sent" {
		t.Errorf("%q", got)
	}
}

// TestUnknownTicketIsAnOffer: a client may make up a session ID, a ticket it has from somebody.
func TestUnknownTicketIsAnOffer(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	sessions := tls.NewLRUClientSessionCache(1)
	for _, want := range []reprise.Reason{reprise.NotOffered, reprise.Unknown} {
		cache := newCache(t, reprise.Options{}) // each with a fleet key of its own
		addr, reasons := serve(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
		conn, err := tls.Dial("tcp", addr, &tls.Config{
			RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: sessions,
		})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := <-reasons; got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// TestReadAfterClose: what has arrived can be read still, of a record that was opened and of those behind it, as with a [tls.Conn].
func TestReadAfterClose(t *testing.T) {
	for _, read := range []string{"first", "fir"} {
		client, server, _ := shakeHands(t, newCache(t, reprise.Options{}), nil)
		for _, record := range []string{"first", "second"} {
			if _, err := client.Write([]byte(record)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(server, make([]byte, len(read))); err != nil {
			t.Fatal(err)
		}
		server.Close()
		rest, err := io.ReadAll(server)
		if want := "firstsecond"[len(read):]; string(rest) != want || !errors.Is(err, net.ErrClosed) {
			t.Errorf("after %q: %q, %v; want %q, %v", read, rest, err, want, net.ErrClosed)
		}
	}
}
