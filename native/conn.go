// Package native is a TLS server engine for what crypto/tls cannot do: it resumes TLS 1.2 sessions by session ID, for the
// clients that know no tickets, and gives its tickets a lifetime, for the clients that want one. It is a server of TLS 1.2 with ECDHE
// and AEAD suites, and nothing else.
//
// Sessions live in a [reprise.Cache], with all of its rules. Package listen chooses between this engine and crypto/tls for each
// connection; a program rarely uses it directly.
package native

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/record"
)

// closeTimeout is how long Close waits for room to send the close_notify.
const closeTimeout = 5 * time.Second

// A Conn is a TLS server connection. It implements [net.Conn], with what [tls.Conn] promises: Read and Write may be called
// at the same time, each by several goroutines, and Close at any time; the first of them runs the handshake.
type Conn struct {
	raw   net.Conn
	cache *reprise.Cache

	handshakeMu   sync.Mutex
	handshakeDone atomic.Bool
	handshakeErr  error
	engine        *engine // nil once the handshake has ended
	connection    *reprise.Connection
	state         tls.ConnectionState
	exporter      *exporter
	byTicket      bool

	readMu    sync.Mutex
	in        record.Reader
	plaintext []byte // opened, not yet read
	useless   int
	readErr   error // sticky

	writeMu  sync.Mutex
	out      record.Writer
	writeErr error // sticky

	ending endingRecord
}

// endingRecord is what is seen of a connection's end.
type endingRecord struct {
	closeNotifySent, closeNotifyReceived, fatalAlert atomic.Bool
	peerGone                                         atomic.Bool // reading has ended
	closed                                           atomic.Bool
}

// Server returns the server side of TLS on conn. config must have a certificate; sessions are those of cache. What of config
// is honoured, the documentation tells (docs/native.md). What can't be honoured is an error of the handshake.
//
// The handshake must have an end in time: set a deadline, use [Conn.HandshakeContext], or package listen, which sees to it. Without one,
// who has seen the ID of a session for single use and offers it can keep the session from its client for as long as they hold
// the connection open.
func Server(conn net.Conn, config *tls.Config, cache *reprise.Cache) *Conn {
	return newConn(conn, config, cache, expectClientHello{})
}

// ServerNegotiated is [Server] for a client that was negotiated with already. read is what conn has sent so far; it begins with the
// ClientHello that the negotiation was made for. The slice is the connection's from now on.
func ServerNegotiated(conn net.Conn, read []byte, n *Negotiation, cache *reprise.Cache) *Conn {
	c := newConn(conn, n.config, cache, expectClientHello{negotiated: n})
	c.engine.in.Begin(read)
	return c
}

func newConn(conn net.Conn, config *tls.Config, cache *reprise.Cache, first state) *Conn {
	return &Conn{
		raw:    conn,
		cache:  cache,
		state:  emptyState,
		engine: &engine{conn: conn, config: config, cache: cache, state: first, result: emptyState},
	}
}

// emptyState is a state whose ExportKeyingMaterial returns an error: a zero one would panic. That it has one is
// the doing of crypto/tls, which exports nothing where renegotiation is allowed.
var emptyState = func() tls.ConnectionState {
	state := tls.Server(nil, &tls.Config{Renegotiation: tls.RenegotiateOnceAsClient}).ConnectionState()
	state.TLSUnique = nil // it was zeros
	return state
}()

// Handshake runs the handshake if it has not run yet.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext runs the handshake if it has not run yet. If ctx is done before it is complete, the connection is
// closed and the error is that of ctx. Later calls return the result of the first.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if c.handshakeDone.Load() {
		return nil
	}
	c.handshakeMu.Lock()
	defer c.handshakeMu.Unlock()
	if c.engine == nil {
		return c.handshakeErr
	}
	err := errPanic // unless something else comes of it
	defer func() { c.finishHandshake(err) }()
	if ctx.Done() == nil {
		err = c.runHandshake(ctx)
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	err = c.runHandshake(ctx)
	if !stop() { // the connection is closed, even if the handshake was complete by then
		err = ctx.Err()
	}
	return err
}

// errPanic is the outcome of a handshake in which a callback has panicked.
var errPanic = errors.New("native: a callback of the handshake panicked")

func (c *Conn) runHandshake(ctx context.Context) error {
	e := c.engine
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	e.ctx, e.output = ctx, (*buffer)[:0]
	defer func() { *buffer = e.output }()
	for {
		err := e.advance()
		if err == nil {
			e.complete()
		}
		if sent := c.flushHandshake(); err == nil || errors.Is(err, errMoreInput) && sent != nil {
			return sent
		}
		if !errors.Is(err, errMoreInput) {
			return err
		}
		if err := fill(&e.in, c.raw); err != nil {
			return err
		}
	}
}

// flushHandshake sends what the engine has queued.
func (c *Conn) flushHandshake() error {
	if len(c.engine.output) == 0 {
		return nil
	}
	_, err := c.raw.Write(c.engine.output)
	c.engine.output = c.engine.output[:0]
	return err
}

// minRead is for how many bytes there is room at least when something is read.
const minRead = 512

// fill reads from the connection what the next record lacks, or more.
func fill(in *record.Reader, raw net.Conn) error {
	n, err := raw.Read(in.Free(max(in.Missing(), minRead)))
	in.Commit(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if err == io.EOF { //nolint:errorlint // net.Conn returns it as it is
		return io.ErrUnexpectedEOF
	}
	return err
}

// finishHandshake keeps of the engine what the connection needs, and tells the cache.
func (c *Conn) finishHandshake(err error) {
	e := c.engine
	c.engine, c.handshakeErr = nil, err
	if e.handshake != nil {
		e.handshake.wipe()
	}
	if err != nil {
		if e.exporter != nil {
			e.exporter.close()
		}
		e.abandon()
		return
	}
	c.in, c.out = e.in, e.out
	c.state, c.exporter, c.connection, c.byTicket = e.result, e.exporter, e.connection, e.byTicket
	c.handshakeDone.Store(true)
	if c.ending.closed.Load() { // meanwhile, by a Close that did not see the handshake complete
		c.end()
	}
}

// Read reads application data. It runs the handshake first. After the peer's close_notify it returns [io.EOF]. Like a
// [tls.Conn] it does so too if the stream ends between two records without one, as many clients have it; within a record, that
// is [io.ErrUnexpectedEOF].
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for len(c.plaintext) == 0 {
		if c.readErr != nil {
			return 0, c.readErr
		}
		if err := c.readRecord(); err != nil {
			if !isTemporary(err) {
				c.readErr = err
				c.ending.peerGone.Store(true)
			}
			return 0, err
		}
	}
	n := copy(b, c.plaintext)
	c.plaintext = c.plaintext[n:]
	return n, nil
}

// isTemporary tells whether reading may go on after an error: after a deadline has passed.
func isTemporary(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// readRecord handles one record, or reads more of it.
func (c *Conn) readRecord() error {
	kind, content, err := c.in.Next()
	switch {
	case record.IsIncomplete(err):
		err := fill(&c.in, c.raw)
		if c.in.Buffered() == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return io.EOF
		}
		return err
	case err != nil:
		return c.failRead(err)
	case kind == record.ApplicationData && len(content) > 0:
		c.useless = 0
		c.plaintext = content
		return nil
	}
	if c.useless++; c.useless > maxUselessRecords {
		return c.failRead(alert.UnexpectedMessage.Errorf("native: too many records without data"))
	}
	switch kind {
	case record.ApplicationData:
		return nil
	case record.Alert:
		return c.readAlert(content)
	case record.Handshake:
		// Renegotiation is for no one (RFC 5246, section 7.2.2, has an alert for that).
		return c.failRead(alert.NoRenegotiation.Errorf("native: handshake message after the handshake"))
	default:
		return c.failRead(alert.UnexpectedMessage.Errorf("native: ChangeCipherSpec after the handshake"))
	}
}

func (c *Conn) readAlert(content []byte) error {
	level, a, err := parseAlert(content)
	switch {
	case err != nil:
		return c.failRead(err)
	case a == alert.CloseNotify:
		c.ending.closeNotifyReceived.Store(true)
		return io.EOF
	case level == alert.Warning:
		return nil
	}
	return c.failRead(&AlertError{Alert: uint8(a)})
}

// failRead ends the connection by a fatal alert: that of the peer, or else the one that err calls for, which is sent.
// After it nothing more is sent (RFC 5246, section 7.2.2). A write under way gets some time to end.
func (c *Conn) failRead(err error) error {
	c.ending.fatalAlert.Store(true)
	_ = c.raw.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.writeErr != nil {
		return err
	}
	if !isReceived(err) {
		_ = c.writeAlert(alert.Fatal, alert.Of(err))
	}
	c.writeErr = err
	return err
}

// buffers holds buffers for records to be sent.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// recordsPerWrite is how many full records go into one write.
const recordsPerWrite = 4

// Write sends application data. It runs the handshake first.
func (c *Conn) Write(b []byte) (n int, err error) { return c.write(b, false) }

// WriteLast is [Conn.Write] for the last data, with [Conn.CloseWrite] after it: the close_notify goes to the network together with the
// last record, which is a good part of what a short connection costs.
func (c *Conn) WriteLast(b []byte) (n int, err error) { return c.write(b, true) }

func (c *Conn) write(b []byte, isLast bool) (n int, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	for n < len(b) && c.writeErr == nil {
		part := b[n:min(len(b), n+recordsPerWrite*record.MaxPlaintext)]
		if isLast && n+len(part) == len(b) {
			return c.writeEnd(n, part)
		}
		if c.writeErr = c.writeRecords(record.ApplicationData, part); c.writeErr == nil {
			n += len(part)
		}
	}
	switch {
	case c.writeErr != nil && c.ending.closed.Load():
		return n, net.ErrClosed
	case c.writeErr == nil && isLast:
		return n, c.closeNotify()
	default:
		return n, c.writeErr
	}
}

// writeEnd sends the last of the data, behind n bytes that were sent, and close_notify.
func (c *Conn) writeEnd(n int, content []byte) (int, error) {
	err := c.writeFragments(fragment{record.ApplicationData, content}, fragment{record.Alert, closeNotifyAlert})
	if err != nil {
		c.writeErr = err
		return n, err
	}
	c.writeErr = errShutdown
	c.ending.closeNotifySent.Store(true)
	return n + len(content), nil
}

func (c *Conn) writeRecords(kind record.Type, content []byte) error {
	return c.writeFragments(fragment{kind, content})
}

// A fragment is the content of one record or more of a type.
type fragment struct {
	kind    record.Type
	content []byte
}

// writeFragments sends fragments in one write to the network.
func (c *Conn) writeFragments(fragments ...fragment) (err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	*buffer = (*buffer)[:0]
	for _, f := range fragments {
		if *buffer, err = c.out.Append(*buffer, f.kind, f.content); err != nil {
			return err
		}
	}
	_, err = c.raw.Write(*buffer)
	return err
}

func (c *Conn) writeAlert(level uint8, a alert.Alert) error {
	return c.writeRecords(record.Alert, []byte{level, byte(a)})
}

var closeNotifyAlert = []byte{alert.Warning, byte(alert.CloseNotify)}

// errShutdown is returned by Write after CloseWrite.
var errShutdown = errors.New("native: write side is closed")

// CloseWrite sends close_notify: the peer reads the end of the stream, and may go on sending. It is an error before the
// handshake is complete.
func (c *Conn) CloseWrite() error {
	if !c.handshakeDone.Load() {
		return errors.New("native: CloseWrite before the handshake is complete")
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.closeNotify()
}

// closeNotify sends close_notify once. If the network has failed, our side has done its part; not so if the connection below was
// closed on our side.
func (c *Conn) closeNotify() error {
	if c.writeErr != nil {
		if c.ending.closeNotifySent.Load() {
			return nil
		}
		c.ending.closeNotifySent.Store(!c.ending.fatalAlert.Load() && !errors.Is(c.writeErr, net.ErrClosed))
		return c.writeErr
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(closeTimeout))
	err := c.writeAlert(alert.Warning, alert.CloseNotify)
	c.writeErr = errShutdown
	c.ending.closeNotifySent.Store(!errors.Is(err, net.ErrClosed))
	if err != nil {
		return fmt.Errorf("native: sending close_notify: %w", err)
	}
	return nil
}

// Close sends close_notify, if nothing else is just being written, and closes the connection. If a write is under way, and
// the peer has gone by itself, nobody misses the close_notify, and the end counts as clean.
func (c *Conn) Close() error {
	if c.ending.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.handshakeDone.Load() {
		if c.writeMu.TryLock() {
			_ = c.closeNotify()
			c.writeMu.Unlock()
		} else if c.ending.peerGone.Load() {
			c.ending.closeNotifySent.Store(true)
		}
	}
	err := c.raw.Close()
	if c.handshakeDone.Load() {
		c.end()
		c.releaseBuffer()
	}
	return err
}

// releaseBuffer gives the memory for reading back, unless somebody reads or something is left to be read.
func (c *Conn) releaseBuffer() {
	if !c.readMu.TryLock() {
		return
	}
	defer c.readMu.Unlock()
	if len(c.plaintext) == 0 {
		c.plaintext = nil // it lies in there
		c.in.Release()
	}
}

// CloseNotifyReceived reports whether the peer has sent close_notify: only then was all that it had to say read when Read
// returns [io.EOF]. Where the end of the data is not known otherwise, somebody may have cut it off (RFC 5246, section 7.2.1).
func (c *Conn) CloseNotifyReceived() bool { return c.ending.closeNotifyReceived.Load() }

// end tells the cache how the connection ended.
func (c *Conn) end() {
	c.exporter.close()
	if c.connection != nil {
		c.connection.End(reprise.Ending{
			CloseNotifySent:     c.ending.closeNotifySent.Load(),
			CloseNotifyReceived: c.ending.closeNotifyReceived.Load(),
			FatalAlert:          c.ending.fatalAlert.Load(),
		})
	}
}

// ConnectionState returns what was negotiated. Its ExportKeyingMaterial returns an error, as only crypto/tls can set it; use
// [Conn.ExportKeyingMaterial]. It has no TLSUnique.
func (c *Conn) ConnectionState() tls.ConnectionState {
	c.handshakeMu.Lock()
	defer c.handshakeMu.Unlock()
	return c.state
}

// ExportKeyingMaterial returns keying material of the connection (RFC 5705). It is an error before the handshake is
// complete, after Close, and without the extended master secret.
func (c *Conn) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	if !c.handshakeDone.Load() {
		return nil, errors.New("native: exporter before the handshake is complete")
	}
	return c.exporter.export(label, context, length)
}

// Session returns the session that the connection has made or resumed, nil if there is none.
func (c *Conn) Session() *reprise.Session {
	if connection := c.Connection(); connection != nil {
		return connection.Session()
	}
	return nil
}

// Reason returns how the client's offer of a session ended.
func (c *Conn) Reason() reprise.Reason {
	if connection := c.Connection(); connection != nil {
		return connection.Reason()
	}
	return reprise.NotOffered
}

// Connection returns what the cache knows of the connection, nil before the handshake is complete or if the cache was
// closed.
func (c *Conn) Connection() *reprise.Connection {
	c.handshakeMu.Lock()
	defer c.handshakeMu.Unlock()
	return c.connection
}

// OfferedTicket reports whether the client offered a ticket, rather than a session ID.
func (c *Conn) OfferedTicket() bool {
	c.handshakeMu.Lock()
	defer c.handshakeMu.Unlock()
	return c.byTicket
}

// NetConn returns the connection below. Reading or writing it corrupts this one.
func (c *Conn) NetConn() net.Conn { return c.raw }

// LocalAddr returns the local address.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline sets the deadlines of Read and Write. After a Write has failed by its deadline, the connection is corrupt.
func (c *Conn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write. After a Write has failed by it, the connection is corrupt.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }
