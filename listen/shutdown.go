package listen

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// draining is what [Listener.Shutdown] waits for.
type draining struct {
	begun atomic.Bool
	under sync.WaitGroup // the acceptor, and the handshakes whose connections nobody has accepted yet
}

func (d *draining) hasBegun() bool { return d.begun.Load() }

// Shutdown closes the inner listener and fails no connection that it has got: what waits in its queue is accepted, the
// handshakes under way go on, and Accept hands their connections out. When that is done, Accept returns
// [net.ErrClosed], and Shutdown nil. The application must go on accepting until then; connections that it has accepted are its
// own to end. If ctx is done before, Shutdown does what [Listener.Close] does and returns the error of ctx.
//
// A handshake that does not go on holds Shutdown up for the rest of its [Options].HandshakeTimeout. What waits in the queue
// can be told only of an inner listener with a method SetDeadline, as a [net.TCPListener] has; others are closed at once. It is
// accepted for a second at most: if connections come without end, or [Options].MaxHandshakes are under way for so long, those that
// wait then are reset.
func (l *Listener) Shutdown(ctx context.Context) error {
	l.start.Do(func() { _ = l.Close() }) // nobody accepts
	l.drain.begun.Store(true)
	if inner, ok := l.inner.(deadliner); !ok || inner.SetDeadline(aLongTimeAgo) != nil {
		_ = l.inner.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.drain.under.Wait()
	}()
	select {
	case <-done:
		_ = l.Close() // again, for who waits in Accept
		return nil
	case <-ctx.Done():
		_ = l.Close()
		return ctx.Err()
	}
}

// A deadliner is a listener that can stop waiting for connections.
type deadliner interface{ SetDeadline(time.Time) error }

// aLongTimeAgo makes a wait end at once.
var aLongTimeAgo = time.Unix(1, 0)

const (
	// queueWait is how long no connection may come for the inner listener's queue to count as empty. An Accept that begins after its
	// deadline looks for none, so it is much longer than a busy machine needs to get there.
	queueWait = 100 * time.Millisecond
	// maxQueueTime is how long connections are accepted at most after Shutdown has begun: they may come without end.
	maxQueueTime = time.Second
)

// acceptQueued accepts what waits in the queue of the inner listener, and closes it.
func (l *Listener) acceptQueued() {
	defer l.inner.Close()
	inner, ok := l.inner.(deadliner)
	if !ok {
		return
	}
	for until := time.Now().Add(maxQueueTime); time.Now().Before(until); {
		conn, err := l.acceptSoon(inner)
		switch {
		case err == nil:
			l.begin(conn)
		case isTimeout(err) || !isTemporary(err):
			return
		default:
			time.Sleep(queueWait)
		}
	}
}

// acceptSoon accepts a connection that is there, with a slot for it.
func (l *Listener) acceptSoon(inner deadliner) (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
	err := inner.SetDeadline(time.Now().Add(queueWait))
	if err == nil {
		var conn net.Conn
		if conn, err = l.inner.Accept(); err == nil {
			return conn, nil
		}
	}
	<-l.slots
	return nil, err
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
