package listen

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which ends when all goroutines have
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int32
		release := make(chan struct{})
		w := newWorkers(ctx, func(net.Conn) {
			<-release
			done.Add(1)
		})
		conn, _ := net.Pipe()
		const jobs = 3 * maxIdleWorkers
		for range jobs {
			w.do(conn)
		}
		synctest.Wait()
		if done.Load() != 0 || w.idle.Load() != 0 {
			t.Errorf("%d jobs are done, %d workers idle", done.Load(), w.idle.Load())
		}
		close(release)
		synctest.Wait()
		if done.Load() != jobs || w.idle.Load() != maxIdleWorkers {
			t.Errorf("%d of %d jobs are done, %d workers idle", done.Load(), jobs, w.idle.Load())
		}
		w.do(conn)
		synctest.Wait()
		if done.Load() != jobs+1 || w.idle.Load() != maxIdleWorkers {
			t.Errorf("after one more %d jobs are done, %d workers idle", done.Load(), w.idle.Load())
		}
		cancel()
	})
}
