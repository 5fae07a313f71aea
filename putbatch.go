package reprise

import "time"

// Puts make batches if the store is a [BatchPutter]: one that finds the queue empty waits for others. A delete of another key that is
// queued behind them, or somebody who waits for the queue to be written, ends the wait, and so does a queue that is half full.

const (
	// maxBatch is how many puts make a batch at most. One that is complete waits no longer.
	maxBatch = 256
	// maxBatchBytes is how many bytes of records. What else uses the store's connection waits for them.
	maxBatchBytes = 256 << 10
)

// gather is called for a put that was queued, behind others or not.
func (w *writeBehind) gather(isFirst bool) {
	if isFirst {
		w.waiting = 0
		w.gathering = time.AfterFunc(w.batchDelay, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.gathered()
		})
	}
	if w.waiting++; w.waiting == maxBatch || len(w.entries) > w.maxLength/2 || w.bytes > w.maxBytes/2 {
		w.gathered()
	} else {
		w.hire() // nobody, while puts are gathered
	}
}

// gathered ends the wait, if there is one, and has the queue written.
func (w *writeBehind) gathered() {
	if w.gathering != nil {
		w.gathering.Stop()
		w.gathering = nil
	}
	w.hire()
}

// inBatch tells whether next, which may be nil, goes into one batch with those of a turn, which have that size. While writes fail, each goes
// alone, so that few puts have an unknown outcome.
func (w *writeBehind) inBatch(turn []*writeEntry, size int, next *writeEntry) bool {
	return w.batchDelay > 0 && !w.failing && len(turn) < maxBatch && turn[0].running.isPut() && next != nil && next.want.isPut() &&
		size+next.want.size() <= maxBatchBytes
}
