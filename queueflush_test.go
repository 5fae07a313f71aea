package reprise

import (
	"context"
	"errors"
	"testing"
)

// TestFlushThatIsGivenUp leaves nothing behind: each list of sessions begins one, and a dead store ends none.
func TestFlushThatIsGivenUp(t *testing.T) {
	p := new(partitions)
	w := &writeBehind{entries: make(map[StoreKey]*writeEntry), partitions: p}
	p.init(nil, func(string) *partition { return &partition{lane: writeLane{queue: w}} })
	first, second := w.begin(StoreKey{1}, &p.whole.lane), w.begin(StoreKey{2}, &p.whole.lane)
	first.want, second.want = &storeWrite{}, &storeWrite{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.flush(ctx); !errors.Is(err, context.Canceled) || len(w.flushes) != 0 {
		t.Errorf("flush: %v, and %d are left", err, len(w.flushes))
	}
	f := w.beginFlush()
	w.remove(first)
	select {
	case <-f.done:
		t.Error("done before all was written")
	default:
	}
	w.remove(second)
	<-f.done
	if len(w.flushes) != 0 {
		t.Errorf("%d flushes are left", len(w.flushes))
	}
}
