package listen

import (
	"net"
	"sync"
)

// handshakes are the connections whose handshake is under way, so that it can be ended. A context for each of them would
// do, too; but one that can be cancelled makes crypto/tls start a goroutine for each handshake.
type handshakes struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

// begin notes a connection. It returns false if all handshakes were ended.
func (h *handshakes) begin(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	if h.conns == nil {
		h.conns = make(map[net.Conn]struct{})
	}
	h.conns[c] = struct{}{}
	return true
}

// done forgets a connection.
func (h *handshakes) done(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// end ends the handshakes under way, by closing their connections, and lets no other begin.
func (h *handshakes) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for c := range h.conns {
		c.Close()
	}
}
