package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/listen"
)

func TestAcceptReturnsCompletedHandshakes(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		ln := newListener(t, listenTCP(t), cache, listen.Options{})
		config := clientConfig(t, version)
		for _, resumed := range []bool{false, true, true} {
			client, server := connect(t, ln, config)
			state := server.ConnectionState()
			if !state.HandshakeComplete || state.DidResume != resumed {
				t.Fatalf("complete %v, resumed %v; want resumed %v", state.HandshakeComplete, state.DidResume, resumed)
			}
			client.Close()
			readToEnd(server)
			server.Close()
		}
		stats := cache.Stats()
		if stats.AcceptGood != 3 || stats.Hits != 2 || stats.Unconfirmed != 0 {
			t.Errorf("%d good handshakes, %d hits, %d unconfirmed sessions; want 3, 2, 0",
				stats.AcceptGood, stats.Hits, stats.Unconfirmed)
		}
		if s := ln.Stats(); s.Completed != 3 || s.Failed != 0 {
			t.Errorf("listener: %+v", s)
		}
	})
}

// TestNothingOfAClientThatGoesAway: a ClientHello alone makes no session, which crypto/tls would have made by then.
func TestNothingOfAClientThatGoesAway(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	announced := false
	cache.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { announced = true; return true })
	ln := newListener(t, listenTCP(t), cache, listen.Options{})
	go func() { _, _ = ln.Accept() }()
	raw := dial(t, ln)
	config := clientConfig(t, tls.VersionTLS13)
	config.VerifyConnection = func(tls.ConnectionState) error { return errors.New("going away") }
	if err := tls.Client(raw, config).Handshake(); err == nil {
		t.Fatal("the handshake was completed")
	}
	raw.Close()
	for ln.Stats().Failed == 0 {
		time.Sleep(time.Millisecond)
	}
	if s := cache.Stats(); s.Number != 0 || announced || s.AcceptGood != 0 || s.Accept != 1 {
		t.Errorf("%d sessions, announced %v, %d of %d handshakes good", s.Number, announced, s.AcceptGood, s.Accept)
	}
}

func TestNewRefuses(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	for _, test := range []struct {
		name    string
		config  *tls.Config
		options listen.Options
		says    string
	}{
		{"nil", nil, listen.Options{}, "needs a tls.Config"},
		{"no certificate", &tls.Config{}, listen.Options{}, "no certificate"},
		{"negative MaxHandshakes", serverConfig(t), listen.Options{MaxHandshakes: -1}, "negative"},
		{"negative HandshakeTimeout", serverConfig(t), listen.Options{HandshakeTimeout: -1}, "negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := listen.New(newPipeListener(), test.config, cache, test.options)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("New returned %v, want an error that says %q", err, test.says)
			}
		})
	}
	config := serverConfig(t)
	if _, err := listen.New(newPipeListener(), config, cache, listen.Options{}); err != nil {
		t.Fatal(err)
	}
	if config.GetConfigForClient != nil {
		t.Error("New has changed the configuration of its caller")
	}
}

// TestHandshakeTimeout: a client that sends nothing, or stops half-way, does not stay.
func TestHandshakeTimeout(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{HandshakeTimeout: 3 * time.Second})
		go func() { _, _ = ln.Accept() }()
		silent, err := inner.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the silent client read %v, want io.EOF", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("closed after %v, want 3s", took)
		}
		synctest.Wait()
		if s := ln.Stats(); s.Failed != 1 || s.Pending != 0 {
			t.Errorf("listener: %+v", s)
		}
		ln.Close()
	})
}

// TestHandshakeTimeoutOfNative: a client of TLS 1.2 that stops after its ClientHello does not stay, either.
func TestHandshakeTimeoutOfNative(t *testing.T) {
	certtest.Shared(t)
	config := clientConfig(t, tls.VersionTLS12)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto, HandshakeTimeout: 3 * time.Second})
		go func() { _, _ = ln.Accept() }()
		raw, err := inner.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() { _ = tls.Client(helloOnly{raw}, config).Handshake() }()
		synctest.Wait()
		if _, err := io.Copy(io.Discard, raw); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("closed after %v, want 3s", took)
		}
		synctest.Wait()
		if s := ln.Stats(); s.Failed != 1 || s.Pending != 0 {
			t.Errorf("listener: %+v", s)
		}
		ln.Close()
	})
}

// helloOnly is a connection of a client that reads nothing.
type helloOnly struct{ net.Conn }

func (helloOnly) Read([]byte) (int, error) { return 0, io.EOF }

// TestMaxHandshakes: more connections wait in the inner listener, until one has ended or was accepted.
func TestMaxHandshakes(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{MaxHandshakes: 2})
		go func() { _, _ = ln.Accept() }()
		var first net.Conn
		for i := range 2 {
			conn, err := inner.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = conn
			}
		}
		synctest.Wait()
		if pending := ln.Stats().Pending; pending != 2 {
			t.Fatalf("%d handshakes are pending, want 2", pending)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := inner.dial(ctx); err == nil {
			t.Fatal("a third connection was accepted")
		}
		first.Close()
		if _, err := inner.dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		ln.Close()
	})
}

// TestSlowClientDoesNotHoldUpOthers is what a Listener is for, compared with a handshake in Accept.
func TestSlowClientDoesNotHoldUpOthers(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
	for range 10 {
		dial(t, ln)
	}
	connect(t, ln, clientConfig(t, tls.VersionTLS13))
}

type temporaryError struct{}

func (temporaryError) Error() string   { return "out of something" }
func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

// TestTemporaryAcceptErrors: the inner listener is asked again, ever later.
func TestTemporaryAcceptErrors(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{})
		go func() { _, _ = ln.Accept() }()
		start := time.Now()
		for range 10 {
			inner.errs <- temporaryError{}
		}
		conn, err := inner.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		// 5, 10, 20, 40, 80, 160, 320, 640 ms, and then 1 s each.
		if took, want := time.Since(start), 1275*time.Millisecond+2*time.Second; took != want {
			t.Errorf("10 errors took %v, want %v", took, want)
		}
		ln.Close()
	})
}

func TestPermanentAcceptError(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{})
		broken := errors.New("broken")
		go func() { inner.errs <- broken }()
		for range 2 {
			if _, err := ln.Accept(); !errors.Is(err, broken) {
				t.Errorf("Accept returned %v", err)
			}
		}
		ln.Close()
	})
}

// TestCloseEndsEverything: handshakes under way, connections that nobody has accepted, and all goroutines.
func TestCloseEndsEverything(t *testing.T) {
	certtest.Shared(t)
	config := clientConfig(t, tls.VersionTLS13)
	now := time.Now() // the certificate is not valid in the year 2000, when fake time begins
	config.Time = func() time.Time { return now }
	synctest.Test(t, func(t *testing.T) { // which ends when all goroutines have
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{})
		accepted := make(chan net.Conn)
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- conn
		}()
		var clients []*tls.Conn
		for range 3 {
			raw, err := inner.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			client := tls.Client(raw, config)
			go func() { _, _ = client.Read(make([]byte, 1)) }()
			clients = append(clients, client)
		}
		silent, err := inner.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn := <-accepted
		synctest.Wait()
		if s := ln.Stats(); s.Completed != 3 || s.Pending != 3 {
			t.Errorf("before: %+v", s)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := ln.Stats(); s.Pending != 0 || s.Failed != 1 {
			t.Errorf("after: %+v", s)
		}
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the silent client read %v, want io.EOF", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returned %v, want net.ErrClosed", err)
		}
		go func() { _, _ = conn.Write([]byte("x")) }() // an accepted connection lives on
		synctest.Wait()
		conn.Close()
		for _, client := range clients {
			client.NetConn().Close()
		}
	})
}

func TestCloseBeforeAccept(t *testing.T) {
	ln := newListener(t, newPipeListener(), newCache(t, reprise.Options{}), listen.Options{})
	ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v, want net.ErrClosed", err)
	}
}

// TestPanicInACallback ends one connection, as in net/http, and not the process.
func TestPanicInACallback(t *testing.T) {
	config := serverConfig(t)
	var once sync.Once
	certificate := config.Certificates[0]
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		once.Do(func() { panic("broken") })
		return &certificate, nil
	}
	ln, err := listen.New(listenTCP(t), config, newCache(t, reprise.Options{}), listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn)
	go func() {
		conn, _ := ln.Accept()
		accepted <- conn
	}()
	client := tls.Client(dial(t, ln), clientConfig(t, tls.VersionTLS13))
	if err := client.Handshake(); err == nil {
		t.Error("the handshake was completed")
	}
	second := tls.Client(dial(t, ln), clientConfig(t, tls.VersionTLS13))
	if err := second.Handshake(); err != nil {
		t.Error(err)
	}
	(<-accepted).Close()
	if s := ln.Stats(); s.Failed != 1 || s.Completed != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRawConnIsReachable: options of the socket, and the connection that was accepted.
func TestRawConnIsReachable(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
	client, server := connect(t, ln, clientConfig(t, tls.VersionTLS13))
	raw := server.NetConn()
	if _, err := raw.(syscall.Conn).SyscallConn(); err != nil {
		t.Error(err)
	}
	if _, ok := raw.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn); !ok {
		t.Error("NetConn does not lead to the *net.TCPConn")
	}
	if err := raw.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if err := readError(client); !errors.Is(err, io.EOF) {
		t.Errorf("the client read %v, want io.EOF", err)
	}
}
