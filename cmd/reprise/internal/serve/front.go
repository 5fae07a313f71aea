package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/answer"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/backend"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/systemd"
	"github.com/reprise-tls/reprise/listen"
)

// Limits of HTTP.
const (
	readHeaderTimeout    = 10 * time.Second
	idleTimeout          = 2 * time.Minute
	maxHeaderBytes       = 64 << 10
	maxConcurrentStreams = 128
)

// A front serves connections whose TLS handshake is complete.
type front interface {
	// Serve serves the connections of l until l is closed.
	Serve(l net.Listener) error
	// Shutdown waits until all connections have ended. When ctx is done it closes those that are left, and returns the
	// error of ctx.
	Shutdown(ctx context.Context) error
}

// listen opens the sockets, and makes what serves their connections.
func (s *server) listen() error {
	var err error
	if s.front, err = s.newFront(); err != nil {
		return err
	}
	if s.identity, err = newIdentity(s.settings, s.protocols(), s.log); err != nil {
		return err
	}
	sockets, err := openSockets(s.settings.Listening.Listen)
	if err != nil {
		return err
	}
	for _, socket := range sockets {
		l, err := listen.New(socket, s.identity.current.Load().config, s.cache, listen.Options{
			Engine:           s.settings.Listening.Engine,
			NativeHTTP2:      true,
			HandshakeTimeout: s.settings.Listening.HandshakeTimeout,
			Logger:           s.log,
		})
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	s.metrics = s.newMetrics()
	return nil
}

// openSockets listens at addrs and takes what systemd has handed over. Without either it listens at the default.
func openSockets(addrs []string) ([]net.Listener, error) {
	sockets, err := systemd.Listeners()
	if err != nil {
		return nil, err
	}
	if len(sockets) == 0 && len(addrs) == 0 {
		addrs = []string{config.DefaultListen}
	}
	for _, addr := range addrs {
		socket, err := listen.Socket("tcp", addr)
		if err != nil {
			return nil, hint.With(fmt.Errorf("--listen %s: %w", addr, err),
				"choose another address; ports below 1024 need a privilege, which the systemd unit has")
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

// newFront makes what serves connections: a proxy in front of a backend, or answers.
func (s *server) newFront() (front, error) {
	target := s.settings.Backend.Target
	switch {
	case target == nil:
		return newHTTPFront(answer.New(s.report), s.log)
	case target.IsHTTP():
		return newHTTPFront(backend.NewHTTP(target.URL, s.log), s.log)
	default:
		return backend.NewTCP(target.URL.Host, s.settings.Backend.ProxyProtocol, s.log), nil
	}
}

// protocols are those that clients can choose from (RFC 7301).
func (s *server) protocols() []string {
	if target := s.settings.Backend.Target; target != nil && !target.IsHTTP() {
		return nil
	}
	return []string{"h2", "http/1.1"}
}

// An httpFront serves HTTP/1 and HTTP/2.
type httpFront struct{ server *listen.HTTPServer }

func newHTTPFront(h http.Handler, log *slog.Logger) (httpFront, error) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		ConnContext:       listen.ConnContext,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	both, err := listen.NewHTTPServer(server)
	return httpFront{both}, err
}

func (f httpFront) Serve(l net.Listener) error {
	err := f.server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (f httpFront) Shutdown(ctx context.Context) error {
	err := f.server.Shutdown(ctx)
	if err == nil || ctx.Err() == nil { // an error while there is time is that of closing a listener twice
		return nil
	}
	_ = f.server.Close()
	return ctx.Err()
}

// observed is a listener whose connections are counted and logged.
type observed struct {
	net.Listener
	seen func(net.Conn)
}

func (l observed) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.seen(conn)
	}
	return conn, err
}

func (s *server) observe(l net.Listener) net.Listener { return observed{l, s.see} }

func (s *server) see(conn net.Conn) {
	info, ok := listen.InfoOf(conn)
	c, hasState := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok || !hasState {
		return
	}
	state := c.ConnectionState()
	version := tls.VersionName(state.Version)
	s.metrics.Handshake(info, version)
	if s.log.Enabled(context.Background(), slog.LevelDebug) { // a name takes some hashing
		s.log.Debug("connection", "remote", conn.RemoteAddr().String(), "version", version, "server_name", state.ServerName,
			"reason", info.Reason.String(), "session", s.nameOf(info.Session))
	}
}
