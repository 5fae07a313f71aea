package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
)

// A rawConn is the connection below a [tls.Conn]. It watches what the tls.Conn reads from the network, and when it is
// closed tells the cache how the connection ended.
type rawConn struct {
	net.Conn
	tls    *tls.Conn // nil if package native makes the handshake
	choice choice

	connection  *reprise.Connection // nil if the connection has no sessions; set before it is established
	isExpecting bool                // sessions of the ClientHello that was read last

	state     atomic.Uint32         // what of the following has happened
	readError atomic.Pointer[error] // the last one
	alerts    atomic.Int32          // that were sent after the handshake, as far as one can see
}

// What can happen to a connection, in any order: its handshake may be complete just when it is closed for want of time.
const (
	established = 1 << iota
	closed
)

var _ stdtls.Tracker = (*rawConn)(nil)

func newRawConn(inner net.Conn, o *Options) *rawConn {
	hasNative := o.Engine != EngineStandard
	return &rawConn{Conn: inner, choice: choice{hasNative: hasNative, isOpen: hasNative, nativeHTTP2: o.NativeHTTP2}}
}

// Track implements [stdtls.Tracker].
func (c *rawConn) Track(connection *reprise.Connection) {
	c.connection = connection
	c.isExpecting = len(c.choice.offered) > 0
	connection.Expect(c.choice.offered)
	c.choice.offered = nil
}

func (c *rawConn) is(state uint32) bool { return c.state.Load()&state != 0 }

// establish is called when the handshake is complete.
func (c *rawConn) establish() {
	if c.connection != nil {
		c.connection.Complete(true)
	}
	if c.state.Or(established)&closed != 0 {
		c.end()
	}
}

func (c *rawConn) Read(b []byte) (int, error) {
	if c.is(closed) {
		return 0, errClosed
	}
	if n := c.choice.replay(b); n > 0 {
		return n, nil
	}
	if c.isExpecting { // of the handshake still: crypto/tls has looked for the sessions, or sent a HelloRetryRequest
		c.isExpecting = false
		c.connection.Expect(nil)
	}
	n, err := c.Conn.Read(b)
	c.choice.record(b[:n])
	if err != nil && n == 0 {
		c.noteReadError(err)
	}
	return n, err
}

func (c *rawConn) noteReadError(err error) { c.readError.Store(&err) }

func (c *rawConn) Write(b []byte) (int, error) {
	if c.is(closed) {
		return 0, errClosed
	}
	if c.choice.isNative() {
		return len(b), nil // the alert of a handshake that goes on in the other engine
	}
	// After the handshake, a tls.Conn writes one record at a time. Up to TLS 1.2 its type is in clear.
	if c.is(established) && len(b) > 0 && b[0] == recordTypeAlert {
		c.alerts.Add(1)
	}
	return c.Conn.Write(b)
}

const recordTypeAlert = 21 // RFC 5246, section 6.2.1

// errClosed is what reads and writes return after Close.
var errClosed error = closedError{}

type closedError struct{}

func (closedError) Error() string { return net.ErrClosed.Error() }
func (closedError) Unwrap() error { return net.ErrClosed }

// Close closes the connection. Once it is established and closed, the cache is told how it ended.
func (c *rawConn) Close() error {
	before := c.state.Or(closed)
	err := c.Conn.Close()
	if before == established {
		c.end()
	}
	return err
}

func (c *rawConn) end() {
	if c.connection != nil {
		c.connection.End(c.ending())
	}
}

// ending finds out how the connection ended, by asking the [tls.Conn] to go on. It runs after the connection was closed:
// nothing can block or reach the network any more, and goroutines that were reading or writing have been let go. All that a
// tls.Conn can still answer is what it remembers (docs/decisions/0006-how-a-connection-ended.md).
func (c *rawConn) ending() (e reprise.Ending) {
	// crypto/tls sends close_notify once and remembers the outcome. If this is the first attempt, it meets our own
	// error. One that failed on the network counts: our side has done its part.
	e.CloseNotifySent = !errors.Is(c.tls.CloseWrite(), errClosed)

	// The error that reading ended with is remembered too. It is io.EOF after a close_notify as well as after a TCP
	// FIN, but the latter was seen below. What does not come from below was an alert.
	err := drain(c.tls)
	switch {
	case errors.Is(err, io.EOF):
		e.CloseNotifyReceived = !c.hasRead(io.EOF)
	case !c.isFromBelow(err):
		e.FatalAlert = true
	}

	// The alert that answers a handshake message out of place is not remembered.
	alerts := c.alerts.Load()
	if e.CloseNotifySent {
		alerts--
	}
	e.FatalAlert = e.FatalAlert || alerts > 0

	// tls.Conn.Close sends no close_notify while a write is under way, as there often is one in HTTP/2. If the client has gone
	// by itself, nobody misses it.
	if c.isClosedAbove() && !errors.Is(err, net.ErrClosed) {
		e.CloseNotifySent = true
	}
	return e
}

// isClosedAbove tells whether [tls.Conn.Close] was called: only then are writes refused with [net.ErrClosed]. After
// CloseWrite no write gets further than that.
func (c *rawConn) isClosedAbove() bool {
	_, err := c.tls.Write(nil)
	return err == net.ErrClosed //nolint:errorlint // another error may wrap it
}

// drain reads until there is an error. At most one record's worth of data and what was read ahead is left to be read.
func drain(c *tls.Conn) error {
	var discarded [512]byte
	for {
		if _, err := c.Read(discarded[:]); err != nil {
			return err
		}
	}
}

// isFromBelow tells whether an error of [tls.Conn.Read] is one of the network, or ours, rather than of the protocol.
func (c *rawConn) isFromBelow(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || c.hasRead(err)
}

// hasRead tells whether the last error that was read from the network is, or is within, err.
func (c *rawConn) hasRead(err error) bool {
	last := c.readError.Load()
	return last != nil && errors.Is(err, *last)
}

// NetConn returns the connection that the inner listener accepted.
func (c *rawConn) NetConn() net.Conn { return c.Conn }

// CloseWrite closes the sending direction of the connection below TLS.
func (c *rawConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn implements [syscall.Conn].
func (c *rawConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
