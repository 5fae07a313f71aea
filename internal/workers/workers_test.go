package workers

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which ends when all goroutines have
		end := make(chan struct{})
		var done atomic.Int32
		release := make(chan struct{})
		p := New(end, func(n int32) {
			<-release
			done.Add(n)
		})
		const jobs = 3 * maxIdle
		for range jobs {
			p.Do(1)
		}
		synctest.Wait()
		if done.Load() != 0 || p.idle.Load() != 0 {
			t.Errorf("%d jobs are done, %d goroutines idle", done.Load(), p.idle.Load())
		}
		close(release)
		synctest.Wait()
		if done.Load() != jobs || p.idle.Load() != maxIdle {
			t.Errorf("%d of %d jobs are done, %d goroutines idle", done.Load(), jobs, p.idle.Load())
		}
		p.Do(1)
		synctest.Wait()
		if done.Load() != jobs+1 || p.idle.Load() != maxIdle {
			t.Errorf("after one more %d jobs are done, %d goroutines idle", done.Load(), p.idle.Load())
		}
		close(end)
		synctest.Wait()
		if p.idle.Load() != 0 {
			t.Errorf("%d goroutines wait after the end", p.idle.Load())
		}
		p.Do(1)
		synctest.Wait()
		if done.Load() != jobs+2 {
			t.Error("a job that came after the end was not done")
		}
	})
}
