package redistest

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// A bus is the way by which the others of a cluster reach a node on the cluster bus. It can be closed to some of them.
type bus struct {
	listener net.Listener
	target   string // the bus port of the node

	mu      sync.Mutex
	refuses func(sender string) bool
	links   map[net.Conn]string // to the ID of who has connected
}

// startBus starts one that lets everybody through.
func startBus(tb testing.TB, port int) *bus {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	b := &bus{
		listener: l, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		refuses: func(string) bool { return false }, links: make(map[net.Conn]string),
	}
	go b.serve()
	tb.Cleanup(func() {
		l.Close()
		b.refuse(func(string) bool { return true })
	})
	return b
}

func (b *bus) port() int { return b.listener.Addr().(*net.TCPAddr).Port }

// refuse closes the bus to some nodes, and ends their links.
func (b *bus) refuse(refuses func(sender string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = refuses
	for link, sender := range b.links {
		if refuses(sender) {
			link.Close()
		}
	}
}

func (b *bus) serve() {
	for {
		link, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.pass(link)
	}
}

// pass lets through what comes by a link.
func (b *bus) pass(link net.Conn) {
	defer link.Close()
	// The header of a message begins with this much, and then the ID of who sends it (clusterMsg in cluster.h of Redis).
	const before, id = 40, 40
	header := make([]byte, before+id)
	if _, err := io.ReadFull(link, header); err != nil || !b.admit(link, string(header[before:])) {
		return
	}
	defer b.forget(link)
	node, err := net.Dial("tcp", b.target)
	if err != nil {
		return
	}
	defer node.Close()
	if _, err := node.Write(header); err != nil {
		return
	}
	go func() {
		defer link.Close()
		_, _ = io.Copy(link, node)
	}()
	_, _ = io.Copy(node, link)
}

func (b *bus) admit(link net.Conn, sender string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses(sender) {
		return false
	}
	b.links[link] = sender
	return true
}

func (b *bus) forget(link net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, link)
}

// CutOff cuts a node of a Divisible cluster off from the others. Clients reach it as before.
func (c *Cluster) CutOff(s *Server) {
	s.tb.Helper()
	id := s.Command("CLUSTER", "MYID")
	for _, other := range c.All() {
		other.bus.refuse(func(sender string) bool { return other == s || sender == id })
	}
}

// Rejoin ends what CutOff began.
func (c *Cluster) Rejoin() {
	for _, s := range c.All() {
		s.bus.refuse(func(string) bool { return false })
	}
}
