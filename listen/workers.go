package listen

import (
	"context"
	"net"
	"sync/atomic"
)

// workers are goroutines that each do one job after the other. The stack of a goroutine grows while it makes a
// handshake, by copying, and that costs more than all that a [Listener] adds to crypto/tls; so goroutines that have
// grown wait for the next handshake, a few of them.
type workers struct {
	ctx  context.Context // ends those that wait
	work func(net.Conn)
	jobs chan net.Conn
	idle atomic.Int32
}

const maxIdleWorkers = 16

func newWorkers(ctx context.Context, work func(net.Conn)) *workers {
	return &workers{ctx: ctx, work: work, jobs: make(chan net.Conn)}
}

// do calls work(conn) in a goroutine that waits, or else in a new one.
func (w *workers) do(conn net.Conn) {
	select {
	case w.jobs <- conn:
	default:
		go w.run(conn)
	}
}

func (w *workers) run(conn net.Conn) {
	for conn != nil {
		w.work(conn)
		conn = w.wait()
	}
}

// wait returns the next connection, or nil if the goroutine must end.
func (w *workers) wait() net.Conn {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdleWorkers {
		return nil
	}
	select {
	case conn := <-w.jobs:
		return conn
	case <-w.ctx.Done():
		return nil
	}
}
