package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/readbuffer"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/stdtls"
)

// Values of [Options].Engine and of [Info].Engine.
const (
	// EngineStandard is crypto/tls.
	EngineStandard = "crypto/tls"
	// EngineNative is package native.
	EngineNative = "native"
	// EngineAuto leaves a client of TLS 1.2 to package native, if that would make the same choices as crypto/tls, and all
	// others to crypto/tls.
	EngineAuto = "auto"
)

// A choice is how the engine of a connection is found: crypto/tls reads the ClientHello and resolves the configuration, and just
// before it would go on, native may take over, with the bytes that were read until then. So there is one reader of
// hellos with its limits, and one resolution of the configuration, whichever engine serves.
//
// Where the configuration is fixed, native looks at a ClientHello first: one that came as a whole needs no help of crypto/tls.
//
// The bytes are kept, too, for the sessions that they offer: the hooks of crypto/tls see one of them at a time.
type choice struct {
	hasNative   bool                // native may take over at all
	isOpen      bool                // and may still do so
	nativeHTTP2 bool                // native may speak it
	read        []byte              // from the client, until crypto/tls has its ClientHello
	replayed    int                 // how many of them crypto/tls has read
	isRead      bool                // crypto/tls has its ClientHello
	offered     []reprise.SessionID // in it
	config      *tls.Config         // chosen for it
	negotiation *native.Negotiation
}

var _ stdtls.Chooser = (*rawConn)(nil)

// errNative ends the handshake of crypto/tls when native takes over.
var errNative = errors.New("listen: the handshake goes on in package native")

// Choose implements [stdtls.Chooser].
func (c *rawConn) Choose(hello *tls.ClientHelloInfo, config *tls.Config) error {
	if c.choice.isOpen {
		negotiation, err := native.Negotiate(hello, config)
		if err == nil && c.choice.settle(negotiation) {
			return errNative
		}
	}
	c.choice.config = config
	c.choice.close()
	return nil
}

var _ stdtls.Taker = (*rawConn)(nil)

// MayTake implements [stdtls.Taker]. Which engine serves a hello is its sender's choice, and who has only seen the ID of a session
// can't use it up in native. So what native would make, it alone takes.
func (c *rawConn) MayTake(s *reprise.Session) bool {
	wasNative := c.choice.hasNative && c.choice.serves(s.ALPN()) && native.CanMake(s, c.choice.config)
	return !wasNative
}

// serves tells whether native may speak a protocol.
func (c *choice) serves(protocol string) bool { return protocol != http2.NextProtoTLS || c.nativeHTTP2 }

// settle leaves the handshake to native, if that is wanted of the protocol that was negotiated.
func (c *choice) settle(n *native.Negotiation) bool {
	c.isOpen = false
	if n == nil || !c.serves(n.Protocol()) {
		return false
	}
	c.negotiation = n
	return true
}

// peek reads what the client sends first, and makes the choice if native can tell already. fixed may be nil.
func (c *rawConn) peek(fixed *tls.Config) {
	buffer := readbuffer.Get(readbuffer.Size)
	n, _ := c.Conn.Read(buffer[:cap(buffer)]) // crypto/tls will meet the error, too
	c.choice.read = buffer[:n]
	if !c.choice.isOpen || fixed == nil {
		return
	}
	if negotiation, ok := native.Peek(c.choice.read, c.Conn, fixed); ok {
		c.choice.settle(negotiation)
	}
}

// replay gives crypto/tls what was read before.
func (c *choice) replay(b []byte) int {
	if c.replayed == len(c.read) {
		return 0
	}
	n := copy(b, c.read[c.replayed:])
	c.replayed += n
	c.release()
	return n
}

// maxRecorded is how many bytes of a client are kept at most until its ClientHello is there. crypto/tls bounds the message, but not the
// warnings and the headers of tiny records that come with it.
const maxRecorded = 32 << 10

// record keeps what crypto/tls reads until it has its ClientHello. If that is too much, the handshake is left to crypto/tls.
func (c *choice) record(b []byte) {
	switch {
	case c.isRead:
	case len(c.read)+len(b) > maxRecorded:
		c.isOpen, c.isRead = false, true
		c.read, c.replayed = nil, 0
	default:
		c.read = append(c.read, b...)
		c.replayed = len(c.read)
	}
}

// close leaves the handshake to crypto/tls, which has its ClientHello.
func (c *choice) close() {
	c.isOpen, c.isRead = false, true
	if c.config.MaxVersion == 0 || c.config.MaxVersion >= tls.VersionTLS13 {
		c.offered = offeredSessions(c.read)
	}
	c.release()
}

// release gives back the memory that nobody needs any more.
func (c *choice) release() {
	if c.isRead && c.replayed == len(c.read) {
		readbuffer.Put(c.read)
		c.read, c.replayed = nil, 0
	}
}

func (c *choice) isNative() bool { return c.negotiation != nil }

// handshake makes the handshake in the engine that the choice falls on, and returns its connection.
func (c *rawConn) handshake(l *Listener) (net.Conn, error) {
	config := l.config.Load()
	c.peek(config.fixed)
	if c.choice.isNative() {
		return c.handshakeNative(l.cache)
	}
	c.tls = tls.Server(c, config.attached)
	defer func() {
		if c.connection != nil && !c.is(established) { // a callback of the application may have panicked
			c.connection.Release()
		}
	}()
	err := c.tls.Handshake()
	if c.choice.isNative() {
		return c.handshakeNative(l.cache)
	}
	if err != nil {
		return nil, err
	}
	c.establish()
	return c.tls, nil
}

// handshakeNative makes the handshake in package native, beginning with what was read already.
func (c *rawConn) handshakeNative(cache *reprise.Cache) (net.Conn, error) {
	conn := native.ServerNegotiated(c.Conn, c.choice.read, c.choice.negotiation, cache)
	c.choice = choice{}
	if err := conn.Handshake(); err != nil {
		c.linger()
		return nil, err
	}
	return conn, nil
}

// lingerTime is how long a client may take to read the alert of a failed handshake.
const lingerTime = 500 * time.Millisecond

// linger lets the client read the alert: if the connection were closed while something of the client's is unread, a reset
// would take it away.
func (c *rawConn) linger() {
	if c.CloseWrite() == nil && c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, 64<<10)
	}
}
