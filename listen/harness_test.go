package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/listen"
)

func forEachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { f(t, version) })
	}
}

func serverConfig(tb testing.TB) *tls.Config {
	tb.Helper()
	_, certificate := certtest.Shared(tb)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}
}

func clientConfig(tb testing.TB, version uint16) *tls.Config {
	tb.Helper()
	ca, _ := certtest.Shared(tb)
	return &tls.Config{
		RootCAs:            ca.Pool(),
		ServerName:         "a.example",
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

func newCache(tb testing.TB, o reprise.Options) *reprise.Cache {
	tb.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	cache, err := reprise.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cache.Close() })
	return cache
}

// newListener makes a listener that uses crypto/tls, if nothing else is said.
func newListener(tb testing.TB, inner net.Listener, cache *reprise.Cache, o listen.Options) *listen.Listener {
	tb.Helper()
	if o.Engine == "" {
		o.Engine = listen.EngineStandard
	}
	ln, err := listen.New(inner, serverConfig(tb), cache, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}

func listenTCP(tb testing.TB) net.Listener {
	tb.Helper()
	inner, err := listen.Socket("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return inner
}

// dial returns a connection to ln without TLS.
func dial(tb testing.TB, ln *listen.Listener) net.Conn {
	tb.Helper()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { raw.Close() })
	return raw
}

// connect returns both ends of a new connection, after an exchange of a byte each way.
func connect(tb testing.TB, ln *listen.Listener, config *tls.Config) (client, server *tls.Conn) {
	tb.Helper()
	return connectOver(tb, dial(tb, ln), ln, config)
}

func connectOver(tb testing.TB, raw net.Conn, ln *listen.Listener, config *tls.Config) (client, server *tls.Conn) {
	tb.Helper()
	client = tls.Client(raw, config)
	client.SetDeadline(time.Now().Add(20 * time.Second))
	handshake := make(chan error, 1)
	go func() { handshake <- client.Handshake() }()
	accepted, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	server = accepted.(*tls.Conn)
	server.SetDeadline(time.Now().Add(20 * time.Second))
	if err := <-handshake; err != nil {
		tb.Fatal(err)
	}
	send(tb, client, server)
	send(tb, server, client)
	return client, server
}

// send sends a byte from one end to the other.
func send(tb testing.TB, from, to net.Conn) {
	tb.Helper()
	if _, err := from.Write([]byte("x")); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		tb.Fatal(err)
	}
}

// readToEnd reads until there is an error.
func readToEnd(conn net.Conn) { _ = readError(conn) }

// readError returns the error that reading ends with.
func readError(conn net.Conn) error {
	for {
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			return err
		}
	}
}

// writeGarbage writes a record that nobody can decrypt.
func writeGarbage(raw net.Conn) {
	_, _ = raw.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...))
}

// pipeListener accepts what is dialed in memory, so that tests with fake time can use it.
type pipeListener struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	close  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, errors.New("closed")
	}
}

func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// dial returns the client's end of a connection that was accepted.
func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A wrapListener wraps each connection that it accepts.
type wrapListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrapListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}
