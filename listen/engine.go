package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-tls/reprise"
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
type choice struct {
	isOpen      bool   // not made yet
	nativeHTTP2 bool   // native may speak it
	read        []byte // from the client, while it is open
	negotiation *native.Negotiation
}

var _ stdtls.Chooser = (*rawConn)(nil)

// errNative ends the handshake of crypto/tls when native takes over.
var errNative = errors.New("listen: the handshake goes on in package native")

// Choose implements [stdtls.Chooser].
func (c *rawConn) Choose(hello *tls.ClientHelloInfo, config *tls.Config) error {
	if !c.choice.isOpen {
		return nil
	}
	c.choice.isOpen = false
	negotiation, err := native.Negotiate(hello, config)
	if err != nil || negotiation.Protocol() == http2.NextProtoTLS && !c.choice.nativeHTTP2 { // for crypto/tls to judge
		c.choice.read = nil
		return nil //nolint:nilerr // it is no error of the connection
	}
	c.choice.negotiation = negotiation
	return errNative
}

func (c *choice) record(b []byte) {
	if c.isOpen {
		c.read = append(c.read, b...)
	}
}

func (c *choice) isNative() bool { return c.negotiation != nil }

// handshake makes the handshake in the engine that the choice falls on, and returns its connection.
func (c *rawConn) handshake(cache *reprise.Cache) (net.Conn, error) {
	err := c.tls.Handshake()
	if c.choice.isNative() {
		return c.handshakeNative(cache)
	}
	if err != nil {
		return nil, err
	}
	c.establish()
	return c.tls, nil
}

// handshakeNative makes the handshake in package native. What crypto/tls has read is read again.
func (c *rawConn) handshakeNative(cache *reprise.Cache) (net.Conn, error) {
	conn := native.ServerNegotiated(&replayedConn{c.Conn, c.choice.read}, c.choice.negotiation, cache)
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

// A replayedConn is a connection of which the first bytes were read already.
type replayedConn struct {
	net.Conn
	replay []byte
}

func (c *replayedConn) Read(b []byte) (int, error) {
	if len(c.replay) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	return n, nil
}

// NetConn returns the connection that the inner listener accepted.
func (c *replayedConn) NetConn() net.Conn { return c.Conn }
