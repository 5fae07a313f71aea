package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// DialTimeout is how long a backend may take to accept a connection.
const DialTimeout = 10 * time.Second

// A TCP passes the bytes of connections to a backend and back, each through a connection of its own.
type TCP struct {
	addr          string
	proxyProtocol bool
	log           *slog.Logger
	ctx           context.Context // done when no more connections to the backend are to be made
	cancel        context.CancelFunc

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	closing bool // no more connections are served
	wait    sync.WaitGroup
}

// NewTCP returns a TCP for the backend at addr, a host and a port. With proxyProtocol each connection begins with a
// header of the PROXY protocol, version 2.
func NewTCP(addr string, proxyProtocol bool, log *slog.Logger) *TCP {
	ctx, cancel := context.WithCancel(context.Background())
	return &TCP{
		addr:          addr,
		proxyProtocol: proxyProtocol,
		log:           log,
		ctx:           ctx,
		cancel:        cancel,
		conns:         make(map[net.Conn]struct{}),
	}
}

// Serve accepts connections from l, which must have completed their handshakes, and passes them on, until l is closed.
func (p *TCP) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if !p.begin(conn) {
			_ = conn.Close()
			continue
		}
		go func() {
			defer p.end(conn)
			if err := p.handle(conn); err != nil {
				p.log.Warn("backend failed", "backend", p.addr, "error", err)
			}
		}()
	}
}

// Shutdown serves no more connections and waits until all have ended. When ctx is done it closes those that are left,
// and returns the error of ctx. It does not close the listeners.
func (p *TCP) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	idle := make(chan struct{})
	go func() { p.wait.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	p.cancel()
	p.mu.Lock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	<-idle
	return ctx.Err()
}

// begin counts a connection. It returns false if it must not be served any more.
func (p *TCP) begin(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.wait.Add(1)
	p.conns[conn] = struct{}{}
	return true
}

func (p *TCP) end(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	p.wait.Done()
}

func (p *TCP) handle(client net.Conn) error {
	dialer := net.Dialer{Timeout: DialTimeout}
	server, err := dialer.DialContext(p.ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	defer server.Close()
	if p.proxyProtocol {
		if err := writeProxyHeader(server, client); err != nil {
			return fmt.Errorf("PROXY header: %w", err)
		}
	}
	join(client, server)
	return nil
}

// join copies both ways until both sides have said that they are done, or one has failed.
func join(client, server net.Conn) {
	var wait sync.WaitGroup
	one := func(dst, src net.Conn) {
		_, err := io.Copy(dst, src)
		if err == nil {
			err = closeWrite(dst)
		}
		if err != nil { // nothing more will come of it, so the other direction must not wait
			_ = client.Close()
			_ = server.Close()
		}
	}
	wait.Go(func() { one(server, client) })
	wait.Go(func() { one(client, server) })
	wait.Wait()
}

// closeWrite tells the peer that nothing follows; over TLS by a close_notify.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}

// connectionState returns the TLS state of conn, nil if it has none.
func connectionState(conn net.Conn) *tls.ConnectionState {
	if c, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}
