package reprise

import (
	"context"
	"errors"
	"testing"
)

// TestFlushThatIsGivenUp leaves nothing behind: each list of sessions begins one, and a dead store ends none.
func TestFlushThatIsGivenUp(t *testing.T) {
	first, second := &writeEntry{key: StoreKey{1}, want: &storeWrite{}}, &writeEntry{key: StoreKey{2}, want: &storeWrite{}}
	w := &writeBehind{entries: map[StoreKey]*writeEntry{first.key: first, second.key: second}}
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
