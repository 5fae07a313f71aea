// Package listen accepts TLS connections whose handshake is complete, for servers whose clients resume from a session
// cache. A [Listener] stands where [tls.NewListener] would:
//
//	ln, err := listen.New(inner, config, cache, listen.Options{})
//	err = server.Serve(ln)
//
// Its connections are of type *[tls.Conn], so that HTTP/2 works, or of type *[native.Conn]: clients of TLS 1.2 can resume in
// package native only, as a rule. [Options] say which.
//
// What package stdtls alone cannot know, a Listener does: sessions enter the cache only when the client has proved
// itself, and the cache hears how each connection ended, and removes its session where [reprise.Unclean] says so. Sessions that a
// TLS 1.3 client offers together are looked for in the external cache together ([reprise.Connection.Expect]).
// [InfoOf] tells of a connection whether it was resumed, and why not.
//
// # Raw connections
//
// [tls.Conn.NetConn] returns a connection of this package, which has the methods CloseWrite, SyscallConn and NetConn; the
// last one returns the connection that the inner listener accepted, as [native.Conn.NetConn] does at once. Who closes that one
// directly takes it away from the Listener, and no session is removed. Keep-alive and other options are those of the inner listener.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/stack"
	"github.com/reprise-tls/reprise/internal/workers"
)

// Defaults of [Options].
const (
	DefaultMaxHandshakes    = 1024
	DefaultHandshakeTimeout = 10 * time.Second
)

// Options are the settings of a [Listener]. The zero value is usable.
type Options struct {
	// MaxHandshakes is how many connections there may be at most that were accepted by the inner listener and not yet by
	// the application. More wait to be accepted. 0 means [DefaultMaxHandshakes].
	MaxHandshakes int
	// HandshakeTimeout is how long a handshake may take; then its connection is closed, which interrupts all but
	// callbacks of the configuration. 0 means [DefaultHandshakeTimeout].
	HandshakeTimeout time.Duration
	// Engine is what does the handshakes: [EngineAuto], [EngineStandard] or [EngineNative]. Empty means EngineAuto. With
	// EngineStandard, Accept returns connections of type *[tls.Conn] alone. EngineNative allows no TLS 1.3.
	Engine string
	// NativeHTTP2 tells that HTTP/2 is served on connections of type *[native.Conn] too, as an [HTTPServer] does and
	// net/http alone does not. Without it EngineAuto leaves clients that choose HTTP/2 to crypto/tls.
	NativeHTTP2 bool
	// Logger gets failed handshakes at the level debug, and errors of the inner listener as warnings. nil means the
	// logger of the cache.
	Logger *slog.Logger
}

// A Listener is a [net.Listener] of TLS connections. Its methods may be called from many goroutines at once.
type Listener struct {
	inner   net.Listener
	config  atomic.Pointer[configuration]
	cache   *reprise.Cache
	options Options

	ctx    context.Context // done when the Listener is closed or inner has failed
	cancel context.CancelCauseFunc
	start  sync.Once
	slots  chan struct{} // holds one for each connection that waits for its handshake, or to be accepted
	ready  chan net.Conn // handshake complete
	drain  draining

	handshakes handshakes
	workers    *workers.Pool[net.Conn]

	pending           atomic.Int64
	completed, failed atomic.Uint64
}

// New makes a listener that accepts connections from inner. It uses a clone of config that is attached to cache by
// [stdtls.Attach], and returns its errors; [Listener.SetConfig] replaces it. For HTTP/2, config.NextProtos must name "h2".
func New(inner net.Listener, config *tls.Config, cache *reprise.Cache, o Options) (*Listener, error) {
	switch o.Engine {
	case "":
		o.Engine = EngineAuto
	case EngineStandard, EngineAuto:
	case EngineNative:
		o.NativeHTTP2 = true
	default:
		return nil, fmt.Errorf("listen: unknown engine %q; there are %s, %s and %s", o.Engine, EngineAuto, EngineStandard, EngineNative)
	}
	if o.MaxHandshakes < 0 || o.HandshakeTimeout < 0 {
		return nil, errors.New("listen: negative MaxHandshakes or HandshakeTimeout")
	}
	if o.MaxHandshakes == 0 {
		o.MaxHandshakes = DefaultMaxHandshakes
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.Logger == nil {
		o.Logger = cache.Logger()
	}
	l := &Listener{
		inner:   inner,
		cache:   cache,
		options: o,
		slots:   make(chan struct{}, o.MaxHandshakes),
		ready:   make(chan net.Conn),
	}
	if err := l.SetConfig(config); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(l.ctx, l.handshakes.end)
	l.workers = workers.New(l.ctx.Done(), l.handshake)
	return l, nil
}

// Accept returns the next connection whose handshake is complete, a *[tls.Conn] or a *[native.Conn]. The first call begins to accept from the
// inner listener; handshakes then go on between the calls. After [Listener.Close] it returns [net.ErrClosed], after a
// permanent error of the inner listener that error.
func (l *Listener) Accept() (net.Conn, error) {
	l.start.Do(func() { l.drain.under.Go(l.serve) })
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
}

// Close closes the inner listener, ends the handshakes under way, and closes the connections that were not accepted
// yet. It does not wait for them, and leaves accepted connections alone. [Listener.Shutdown] fails none of them.
func (l *Listener) Close() error {
	l.cancel(net.ErrClosed)
	return l.inner.Close()
}

// Addr returns the address of the inner listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Stats are the counters of a [Listener].
type Stats struct {
	// Pending is how many connections wait for the end of their handshake or to be accepted.
	Pending int
	// Completed and Failed count handshakes.
	Completed, Failed uint64
}

// Stats returns the counters.
func (l *Listener) Stats() Stats {
	return Stats{Pending: int(l.pending.Load()), Completed: l.completed.Load(), Failed: l.failed.Load()}
}

// serve accepts connections and begins their handshakes.
func (l *Listener) serve() {
	var pause backoff
	for {
		if !l.takeSlot() {
			return
		}
		conn, err := l.inner.Accept()
		if err == nil {
			pause = 0
			l.begin(conn)
			continue
		}
		<-l.slots
		if l.drain.hasBegun() {
			l.acceptQueued()
			return
		}
		if !isTemporary(err) {
			l.cancel(err)
			return
		}
		pause.grow()
		l.options.Logger.Warn("listen: accept failed, trying again", "error", err, "pause", time.Duration(pause))
		select {
		case <-time.After(time.Duration(pause)):
		case <-l.ctx.Done():
			return
		}
	}
}

// takeSlot waits until one more connection may be accepted. It returns false when the Listener is closed.
func (l *Listener) takeSlot() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// handOut gives a connection to a caller of Accept. If there is none any more, it closes it.
func (l *Listener) handOut(conn net.Conn) {
	select {
	case l.ready <- conn: // somebody waits for it
		return
	default:
	}
	select {
	case l.ready <- conn:
	case <-l.ctx.Done():
		conn.Close()
	}
}

// begin begins the handshake of an accepted connection, which has a slot.
func (l *Listener) begin(conn net.Conn) {
	l.pending.Add(1)
	l.drain.under.Add(1)
	l.workers.Do(conn)
}

// isTemporary tells whether accepting may succeed later, as after running out of file descriptors.
func isTemporary(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Temporary() //nolint:staticcheck // SA1019: nothing else tells it of an accept; net/http does so too
}

// A backoff is how long to wait after an error, twice as long after each.
type backoff time.Duration

func (b *backoff) grow() { *b = min(max(2**b, backoff(5*time.Millisecond)), backoff(time.Second)) }

// handshake completes the handshake of an accepted connection and hands it out.
func (l *Listener) handshake(inner net.Conn) {
	c := newRawConn(inner, &l.options)
	defer func() {
		if r := recover(); r != nil { // in a callback of the application
			c.Close()
			l.failed.Add(1)
			l.options.Logger.Error("listen: panic in a handshake", "panic", fmt.Sprint(r), "stack", stack.Trace())
		}
		l.pending.Add(-1)
		<-l.slots
		l.drain.under.Done()
	}()
	conn, err := l.complete(c)
	if err != nil {
		c.Close()
		l.failed.Add(1)
		l.options.Logger.Debug("listen: handshake failed", "remote", inner.RemoteAddr().String(), "error", err)
		return
	}
	l.completed.Add(1)
	l.handOut(conn)
}

// complete makes the handshake of a connection. It ends, with an error, after its timeout and with the Listener.
func (l *Listener) complete(c *rawConn) (conn net.Conn, err error) {
	if !l.handshakes.begin(c) {
		return nil, net.ErrClosed
	}
	defer l.handshakes.done(c)
	timeout := time.AfterFunc(l.options.HandshakeTimeout, func() { c.Close() })
	conn, err = c.handshake(l)
	if !timeout.Stop() {
		if conn != nil {
			conn.Close()
		}
		return nil, errHandshakeTimeout
	}
	return conn, err
}

var errHandshakeTimeout = errors.New("listen: handshake timeout")
