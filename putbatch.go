package reprise

import "time"

// Puts make batches if the store is a [BatchPutter]: one that finds its lane empty waits for others. Somebody who waits for the queue to be
// written ends the wait, and so do puts that take half of the room there is for them.

const (
	// maxBatch is how many puts make a batch at most. One that is complete waits no longer.
	maxBatch = 256
	// maxBatchBytes is how many bytes of records. What else uses the store's connection waits for them.
	maxBatchBytes = 256 << 10
)

// gather is called for a put that was added, behind others or not.
func (l *writeLane) gather(isFirst bool) {
	w, room, left := l.queue, l.partition.room, l.queue.roomLeft(l.partition)
	if isFirst {
		l.waiting = 0
		l.gathering = time.AfterFunc(w.batchDelay, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			l.gathered()
		})
	}
	if l.waiting++; l.waiting == maxBatch || room.puts > left.puts || room.bytes > left.bytes {
		l.gathered()
	} else {
		l.hire() // nobody, while puts are gathered
	}
}

// gathered ends the wait, if there is one, and has the lane written.
func (l *writeLane) gathered() {
	if l.gathering != nil {
		l.gathering.Stop()
		l.gathering = nil
	}
	l.hire()
}

// inBatch tells whether the first entry goes into one batch with those of a turn, which have that size. While writes fail, each goes
// alone, so that few puts have an unknown outcome.
func (l *writeLane) inBatch(turn *writeTurn, size int) bool {
	return l.queue.batchDelay > 0 && !l.failing && len(turn.entries) < maxBatch && l.first.want.isPut() && size+l.first.want.size() <= maxBatchBytes
}
