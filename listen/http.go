package listen

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-tls/reprise/native"
)

// An HTTPServer serves HTTP on connections of both engines. net/http itself recognises HTTP/2 only on those of
// crypto/tls; the others are served by [http2.Server], with the settings of the [http.Server]. Its methods may be called from many
// goroutines at once.
type HTTPServer struct {
	server *http.Server
	h2     *http2.Server

	mu     sync.Mutex
	fresh  map[net.Conn]struct{}     // those that net/http knows and that nothing was asked on yet
	conns  map[*native.Conn]struct{} // those of HTTP/2 that it does not know
	closed bool                      // no more of conns are served
	idle   sync.WaitGroup            // until conns have ended
}

// NewHTTPServer prepares server, which must not serve yet, and whose ConnState it wraps. It must be ended by [HTTPServer.Shutdown] or [HTTPServer.Close]: the
// methods of the same names of server neither wait for all connections nor close all.
func NewHTTPServer(server *http.Server) (*HTTPServer, error) {
	h2 := new(http2.Server)
	if err := http2.ConfigureServer(server, h2); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &HTTPServer{server: server, h2: h2, fresh: make(map[net.Conn]struct{}), conns: make(map[*native.Conn]struct{})}
	hook := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		s.note(conn, state)
		if hook != nil {
			hook(conn, state)
		}
	}
	return s, nil
}

// note notes which connections are fresh.
func (s *HTTPServer) note(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.fresh[conn] = struct{}{}
	} else {
		delete(s.fresh, conn)
	}
}

// Serve serves l, a [Listener] or one on top of it, as [http.Server.Serve] does. It may be called for several listeners.
func (s *HTTPServer) Serve(l net.Listener) error { return s.server.Serve(&httpListener{l, s}) }

// An httpListener keeps the connections that net/http would mistake for HTTP/1, and has them served.
type httpListener struct {
	net.Listener
	to *HTTPServer
}

func (l *httpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n, ok := conn.(*native.Conn)
		if !ok || n.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
			return conn, nil
		}
		if !l.to.begin(n) {
			n.Close()
			continue
		}
		go l.to.serveHTTP2(l.Listener, n)
	}
}

func (s *HTTPServer) serveHTTP2(l net.Listener, conn *native.Conn) {
	defer s.end(conn)
	ctx := context.Background()
	if s.server.BaseContext != nil {
		ctx = s.server.BaseContext(l)
	}
	if s.server.ConnContext != nil {
		ctx = s.server.ConnContext(ctx, conn)
	}
	s.h2.ServeConn(conn, &http2.ServeConnOpts{Context: ctx, BaseConfig: s.server, Handler: s.server.Handler})
}

// begin notes a connection. It returns false if it must not be served any more.
func (s *HTTPServer) begin(conn *native.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	s.idle.Add(1)
	return true
}

func (s *HTTPServer) end(conn *native.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.idle.Done()
}

// refuse lets no more connections of HTTP/2 begin.
func (s *HTTPServer) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

const (
	// shutdownInterval is how often a shutdown looks whether it can go on.
	shutdownInterval = 20 * time.Millisecond
	// firstRequestTime is how long a fresh connection holds up a shutdown. net/http has the same.
	firstRequestTime = 5 * time.Second
)

// Shutdown is [http.Server.Shutdown] for the connections of both engines: it closes the listeners and waits until all connections
// have ended, or until ctx is done. Connections that were accepted and on which nothing was asked yet are given up to
// five seconds for a request, which net/http alone would read and drop. If the listener is a [Listener], its own Shutdown
// comes first.
func (s *HTTPServer) Shutdown(ctx context.Context) error {
	s.refuse()
	s.server.SetKeepAlivesEnabled(false)
	again := time.NewTicker(shutdownInterval)
	defer again.Stop()
	for until := time.Now().Add(firstRequestTime); s.hasFresh() && ctx.Err() == nil && time.Now().Before(until); {
		<-again.C
	}
	err := s.server.Shutdown(ctx)
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		s.idle.Wait()
	}()
	for {
		select {
		case <-idle:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
			_ = s.server.Shutdown(ctx) // tells connections that have begun meanwhile
		}
	}
}

func (s *HTTPServer) hasFresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fresh) > 0
}

// Close is [http.Server.Close] for the connections of both engines: it closes the listeners and all connections.
func (s *HTTPServer) Close() error {
	s.refuse()
	err := s.server.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
	return err
}
