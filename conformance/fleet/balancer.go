package fleet

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// healthInterval is how often the balancer asks each node for its health.
const healthInterval = 50 * time.Millisecond

// A Balancer passes TCP connections on to the nodes by turns, as they are. Nodes whose /healthz does not answer 200
// get none; a node that refuses a connection is left out until it is healthy again, and another one gets it.
type Balancer struct {
	// Address is where it listens.
	Address string

	listener net.Listener
	backends []*backend
	turn     atomic.Uint64
	done     chan struct{}
	work     sync.WaitGroup
}

type backend struct {
	*Node
	up atomic.Bool
}

// StartBalancer starts a balancer in front of nodes.
func StartBalancer(nodes []*Node) (*Balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Balancer{Address: l.Addr().String(), listener: l, done: make(chan struct{})}
	for _, n := range nodes {
		backend := &backend{Node: n}
		backend.up.Store(n.Healthy())
		b.backends = append(b.backends, backend)
		b.work.Go(func() { b.watch(backend) })
	}
	b.work.Go(b.serve)
	return b, nil
}

// IsUp tells whether the node with this name gets connections.
func (b *Balancer) IsUp(name string) bool {
	for _, backend := range b.backends {
		if backend.Name == name {
			return backend.up.Load()
		}
	}
	return false
}

// Close ends the balancer. Connections that it passes on go on.
func (b *Balancer) Close() {
	b.listener.Close()
	close(b.done)
	b.work.Wait()
}

// watch asks a node for its health again and again.
func (b *Balancer) watch(backend *backend) {
	for {
		select {
		case <-b.done:
			return
		case <-time.After(healthInterval):
			backend.up.Store(backend.Healthy())
		}
	}
}

func (b *Balancer) serve() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.pass(client)
	}
}

// pass passes on both directions of a connection until both have ended.
func (b *Balancer) pass(client net.Conn) {
	defer client.Close()
	server := b.dial()
	if server == nil {
		return
	}
	defer server.Close()
	var directions sync.WaitGroup
	directions.Go(func() { passOneWay(server, client) })
	directions.Go(func() { passOneWay(client, server) })
	directions.Wait()
}

// dial connects to the node whose turn it is, or to the next one that takes the connection.
func (b *Balancer) dial() net.Conn {
	for range 2 * len(b.backends) {
		backend := b.backends[b.turn.Add(1)%uint64(len(b.backends))]
		if !backend.up.Load() {
			continue
		}
		conn, err := net.Dial("tcp", backend.Address)
		if err == nil {
			return conn
		}
		backend.up.Store(false)
	}
	return nil
}

// passOneWay copies until the end of from, and passes that on too.
func passOneWay(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a connection that breaks off ends like any other
	_ = to.(*net.TCPConn).CloseWrite()
}
