package reprise

import (
	"context"
	"errors"
	"testing"
)

// TestFlushThatIsGivenUp leaves nothing behind: each list of sessions begins one, and a dead store ends none.
func TestFlushThatIsGivenUp(t *testing.T) {
	p := new(partitions)
	w := &writeBehind{entries: make(map[StoreKey]*writeEntry), partitions: p, hurry: make(chan struct{})}
	p.init(nil, nil, func(string) *partition { return &partition{puts: writeLane{queue: w}} })
	first := w.begin(&writeEntry{key: StoreKey{1}, home: p.whole, want: &storeWrite{}})
	second := w.begin(&writeEntry{key: StoreKey{2}, home: p.whole, want: &storeWrite{}})
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
