package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// A proxy is a network between a store and its server, with the faults of networks.
type proxy struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]bool
	instead string // of the target
	refuses bool
	open    chan struct{} // closed while bytes pass
	delay   time.Duration // of what the server answers
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, listener: l, conns: make(map[net.Conn]bool), open: make(chan struct{})}
	close(p.open)
	go p.serve()
	t.Cleanup(func() {
		l.Close()
		p.pass()
		p.reset()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses := p.refuses
		p.conns[client] = true
		p.mu.Unlock()
		if refuses {
			p.drop(client)
			continue
		}
		go p.connect(client)
	}
}

func (p *proxy) connect(client net.Conn) {
	defer p.drop(client)
	p.mu.Lock()
	target := p.target
	if p.instead != "" {
		target = p.instead
	}
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.conns[server] = true
	p.mu.Unlock()
	defer p.drop(server)
	go func() {
		defer p.drop(client)
		p.copy(client, server, true)
	}()
	p.copy(server, client, false)
}

// copy copies what comes. Each part of an answer arrives when it has been on its way for the delay, however many are.
func (p *proxy) copy(to, from net.Conn, answers bool) {
	type part struct {
		bytes []byte
		due   time.Time
	}
	parts := make(chan part, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for part := range parts {
			time.Sleep(time.Until(part.due))
			if _, err := to.Write(part.bytes); err != nil {
				p.drop(from)
			}
		}
	}()
	defer func() { close(parts); <-ended }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		open, delay := p.open, p.delay
		p.mu.Unlock()
		<-open
		if !answers {
			delay = 0
		}
		parts <- part{bytes.Clone(buf[:n]), time.Now().Add(delay)}
		if err != nil {
			return
		}
	}
}

// drop resets a connection.
func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
	delete(p.conns, c)
}

// reset resets all connections there are.
func (p *proxy) reset() {
	p.mu.Lock()
	conns := make([]net.Conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		p.drop(c)
	}
}

// refuse resets all connections, and those that come.
func (p *proxy) refuse() {
	p.mu.Lock()
	p.refuses = true
	p.mu.Unlock()
	p.reset()
}

// redirect resets all connections, and leads those that come to another server, or again to the first if the address is
// empty.
func (p *proxy) redirect(to string) {
	p.mu.Lock()
	p.instead = to
	p.mu.Unlock()
	p.reset()
}

// swallow lets no byte through, and keeps the connections.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// slow delays what the server answers.
func (p *proxy) slow(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = by
}

// pass ends all faults. What was swallowed is lost with its connections.
func (p *proxy) pass() {
	p.mu.Lock()
	p.refuses, p.delay = false, 0
	closed := false
	select {
	case <-p.open:
	default:
		closed = true
	}
	open := p.open
	p.mu.Unlock()
	if closed {
		p.reset()
		close(open)
	}
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// TestSilentConnectionIsReset: the system does not go on sending what it has of a put when the connection was given up, as it would for
// minutes.
func TestSilentConnectionIsReset(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var swallows atomic.Bool
	ends := make(chan error, 100)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			redis, err := net.Dial("tcp", server.Addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, redis) }()
			go func() {
				defer client.Close()
				defer redis.Close()
				for buf := make([]byte, 4096); ; {
					n, err := client.Read(buf)
					if err != nil {
						ends <- err
						return
					}
					if !swallows.Load() {
						_, _ = redis.Write(buf[:n])
					}
				}
			}()
		}
	}()
	s := open(t, "redis://"+l.Addr().String(), redisstore.Options{})
	swallows.Store(true)
	ctx, cancel := contextFor(200 * time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, reprise.StoreKey{1}, []byte("record"), time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v", err)
	}
	select {
	case err := <-ends:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection has ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("no connection was given up")
	}
}
