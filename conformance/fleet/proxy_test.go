package fleet_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A network lies between the nodes and their Redis, and does to what they send what networks do.
type network struct {
	address string
	to      string

	mu    sync.Mutex
	does  trouble
	ends  chan struct{} // closed when the present trouble is over
	conns map[net.Conn]bool
}

// A trouble is what happens to bytes on their way.
type trouble struct {
	holds   bool          // they arrive when it is over, as after a cable was plugged in again
	delays  time.Duration // of answers
	answers string        // instead of Redis
}

func startNetwork(t *testing.T, to string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{address: l.Addr().String(), to: to, ends: make(chan struct{}), conns: make(map[net.Conn]bool)}
	t.Cleanup(func() {
		l.Close()
		n.make(trouble{})
		n.cut()
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go n.connect(client)
		}
	}()
	return n
}

// make makes trouble. No trouble ends it.
func (n *network) make(does trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.ends)
	n.does, n.ends = does, make(chan struct{})
}

// cut resets all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(n.conns)
}

func (n *network) connect(client net.Conn) {
	server, err := net.Dial("tcp", n.to)
	if err != nil {
		client.Close()
		return
	}
	n.mu.Lock()
	n.conns[client], n.conns[server] = true, true
	n.mu.Unlock()
	go n.carry(client, client, server)
	n.carry(client, server, client)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, client)
	delete(n.conns, server)
}

// A piece is bytes that have arrived together.
type piece struct {
	bytes []byte
	at    time.Time
}

// carry carries bytes one way, until the connection ends.
func (n *network) carry(client, from, to net.Conn) {
	pieces := make(chan piece, 16)
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 32<<10)
			got, err := from.Read(buf)
			if err != nil {
				return
			}
			pieces <- piece{buf[:got], time.Now()}
		}
	}()
	defer func() {
		from.Close()
		to.Close()
		for range pieces { // let the reader end
		}
	}()
	for p := range pieces {
		n.mu.Lock()
		does, ends := n.does, n.ends
		n.mu.Unlock()
		switch {
		case does.holds:
			<-ends
		case does.delays > 0 && to == client:
			time.Sleep(time.Until(p.at.Add(does.delays)))
		case does.answers != "" && from == client:
			if _, err := client.Write([]byte(does.answers)); err != nil {
				return
			}
			continue
		}
		if _, err := to.Write(p.bytes); err != nil {
			return
		}
	}
}
