package quic_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// A recorder is a network between one client and a server, of 100 ms from the server back. It keeps the datagrams of the client's
// first flight: those that the client has sent before it heard of the server.
type recorder struct {
	addr string

	mu      sync.Mutex
	flight  [][]byte
	isHeard bool
}

func record(t *testing.T, server string) *recorder {
	t.Helper()
	inside := listenUDP(t)
	outside := dialUDP(t, server)
	r := &recorder{addr: inside.LocalAddr().String()}
	clients := make(chan net.Addr, 1)
	go r.forward(inside, outside, clients)
	go r.back(outside, inside, clients)
	return r
}

func listenUDP(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func dialUDP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// forward passes on what the client sends.
func (r *recorder) forward(from net.PacketConn, to net.Conn, clients chan<- net.Addr) {
	for buf := make([]byte, 64<<10); ; {
		n, client, err := from.ReadFrom(buf)
		if err != nil {
			return
		}
		select {
		case clients <- client:
		default:
		}
		r.mu.Lock()
		if !r.isHeard {
			r.flight = append(r.flight, append([]byte(nil), buf[:n]...))
		}
		r.mu.Unlock()
		_, _ = to.Write(buf[:n]) // a lost packet is the network's right
	}
}

// back passes on what the server answers, late.
func (r *recorder) back(from net.Conn, to net.PacketConn, clients <-chan net.Addr) {
	client, isKnown := net.Addr(nil), false
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !isKnown {
			client, isKnown = <-clients, true
		}
		time.AfterFunc(100*time.Millisecond, func() {
			r.mu.Lock()
			r.isHeard = true
			r.mu.Unlock()
			_, _ = to.WriteTo(buf[:n], client)
		})
	}
}

// replay sends the first flight to a node from another address, until the node has begun a connection of it, and then waits for it
// to do with it what it does.
func (r *recorder) replay(n *node) {
	n.t.Helper()
	r.mu.Lock()
	flight := r.flight
	r.mu.Unlock()
	begun := n.cache.Stats().Accept
	conn := dialUDP(n.t, n.addr)
	n.await("a connection of the replayed flight", func() bool {
		for _, datagram := range flight {
			_, _ = conn.Write(datagram)
		}
		time.Sleep(50 * time.Millisecond)
		return n.cache.Stats().Accept > begun
	})
	time.Sleep(300 * time.Millisecond)
}

// A lyingStore promises all, and takes nothing away.
type lyingStore struct{ *promisingStore }

func (s *lyingStore) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	return s.Get(ctx, key)
}

// TestReplayedFlight records the packets of a client that sends early data, and sends them again: to the server that has had
// them and to another one. That they are good packets shows a store that does not keep its promise: there the early data arrive
// again.
func TestReplayedFlight(t *testing.T) {
	if raceEnabled {
		t.Skip("without early data there is nothing to replay")
	}
	for name, test := range map[string]struct {
		store reprise.Store
		want  int // times that the early data arrive after a replay
	}{
		"refused":        {goodStore(), 1},
		"taken if lying": {&lyingStore{goodStore()}, 2},
	} {
		for _, where := range []string{"elsewhere", "same node"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				keys := reprise.RandomFleetKeys()
				nodes := []*node{newNode(t, keys, test.store), newNode(t, keys, test.store)}
				session := nodes[0].visitFull()
				r := record(t, nodes[0].addr)
				v, err := connect(t, r.addr, session, "pay 100")
				if err != nil {
					t.Fatal(err)
				}
				expect(t, "the client itself", v, true, true)
				to := nodes[1]
				if where == "same node" {
					to = nodes[0]
				}
				r.replay(to)
				if got := count("pay 100", nodes...); got != test.want {
					t.Errorf("the early data arrived %d times, want %d", got, test.want)
				}
			})
		}
	}
}
