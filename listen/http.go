package listen

import (
	"context"
	"net"
	"net/http"

	"github.com/reprise-tls/reprise/native"
	"golang.org/x/net/http2"
)

// ServeHTTP serves l, a [Listener] or one on top of it, with server, as server.Serve(l) would, on connections of both
// engines: net/http itself recognises HTTP/2
// only on those of crypto/tls. The others are served by [http2.Server], with the settings of server; they end
// gracefully when server is shut down, but Shutdown does not wait for them, and Close leaves them alone.
func ServeHTTP(server *http.Server, l net.Listener) error {
	h2 := new(http2.Server)
	if err := http2.ConfigureServer(server, h2); err != nil {
		return err
	}
	return server.Serve(&httpListener{l, server, h2})
}

// An httpListener keeps the connections that net/http would mistake for HTTP/1, and serves them itself.
type httpListener struct {
	net.Listener
	server *http.Server
	h2     *http2.Server
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
		go l.serve(n)
	}
}

func (l *httpListener) serve(conn *native.Conn) {
	ctx := context.Context(context.Background())
	if l.server.BaseContext != nil {
		ctx = l.server.BaseContext(l.Listener)
	}
	if l.server.ConnContext != nil {
		ctx = l.server.ConnContext(ctx, conn)
	}
	l.h2.ServeConn(conn, &http2.ServeConnOpts{Context: ctx, BaseConfig: l.server, Handler: l.server.Handler})
}
