package listen

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/reprise-tls/reprise/native"
)

// An HTTPServer serves HTTP on connections of both engines. net/http itself recognises HTTP/2 only on those of
// crypto/tls; the others are served by [http2.Server], with the settings of the [http.Server].
type HTTPServer struct {
	server *http.Server
	h2     *http2.Server
}

// NewHTTPServer prepares server, which must not serve yet. It is shut down as usual: connections of HTTP/2 end gracefully in both
// engines, but Shutdown does not wait for those of package native, and Close leaves them alone.
func NewHTTPServer(server *http.Server) (*HTTPServer, error) {
	h2 := new(http2.Server)
	if err := http2.ConfigureServer(server, h2); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &HTTPServer{server, h2}, nil
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
		go l.to.serveHTTP2(l.Listener, n)
	}
}

func (s *HTTPServer) serveHTTP2(l net.Listener, conn *native.Conn) {
	ctx := context.Background()
	if s.server.BaseContext != nil {
		ctx = s.server.BaseContext(l)
	}
	if s.server.ConnContext != nil {
		ctx = s.server.ConnContext(ctx, conn)
	}
	s.h2.ServeConn(conn, &http2.ServeConnOpts{Context: ctx, BaseConfig: s.server, Handler: s.server.Handler})
}
