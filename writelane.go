package reprise

import "time"

// A writeLane is what is to be written to one partition of a store, and the goroutines that write it: what one partition hangs
// on holds up no other. All of it is under the lock of the queue.
type writeLane struct {
	queue   *writeBehind
	breaker *breaker

	length, bytes int         // of the entries that are in the lane, and of their records to come
	first, last   *writeEntry // those whose turn is to come
	workers       int
	failing       bool        // the last turn failed
	gathering     *time.Timer // not nil while puts are gathered for a batch
	waiting       int         // how many have been, then
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// enqueue gives an entry a turn.
func (l *writeLane) enqueue(e *writeEntry) {
	if e.queued {
		return
	}
	e.queued = true
	isFirst := l.first == nil
	if isFirst {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	if l.queue.batchDelay > 0 && e.want.isPut() {
		l.gather(isFirst)
	} else {
		l.gathered()
	}
}

// hire starts a worker if there is work for one more. While writes fail, one is enough.
func (l *writeLane) hire() {
	if l.first == nil || l.gathering != nil || l.queue.stopped || l.workers >= l.queue.maxWorkers || l.failing && l.workers > 0 {
		return
	}
	l.workers++
	l.queue.working.Add(1)
	l.queue.goroutines.Do(l)
}

// work writes until nothing is left to do.
func (l *writeLane) work() {
	defer l.queue.working.Done()
	backoff := firstBackoff
	for l.storeWorks() {
		turn := l.next()
		if turn == nil {
			return
		}
		if turn.write() || !l.breaker.closed() { // which says when to go on
			backoff = firstBackoff
			continue
		}
		select {
		case <-l.queue.calls.ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
	l.leave()
}

// storeWorks waits until the breaker is closed, and returns false when the binding ends.
func (l *writeLane) storeWorks() bool {
	for {
		again := l.breaker.closedAgain()
		if again == nil {
			return l.queue.calls.ctx.Err() == nil
		}
		select {
		case <-again:
		case <-l.queue.calls.ctx.Done():
			return false
		}
	}
}

func (l *writeLane) leave() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	l.workers--
}

// next begins another turn: one entry, or several puts that make a batch. It returns nil if there is nothing to do; the worker has left
// then.
func (l *writeLane) next() *writeTurn {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if l.first == nil || l.gathering != nil || l.failing && l.workers > 1 {
		l.workers--
		return nil
	}
	turn := &writeTurn{lane: l, entries: []*writeEntry{l.dequeue()}}
	for size := turn.entries[0].running.size(); l.inBatch(turn, size, l.first); size += turn.last().running.size() {
		turn.entries = append(turn.entries, l.dequeue())
	}
	return turn
}

// dequeue takes out the first entry and begins what is wanted of it.
func (l *writeLane) dequeue() *writeEntry {
	e := l.first
	if l.first = e.next; l.first == nil {
		l.last = nil
	}
	e.next, e.queued = nil, false
	e.running = e.want
	return e
}

// A writeTurn is what one call of the store writes: a put or a delete, or several puts.
type writeTurn struct {
	lane      *writeLane
	entries   []*writeEntry // nil in the place of one that is settled
	isBatch   bool
	succeeded bool // one of its writes
}

func (t *writeTurn) last() *writeEntry { return t.entries[len(t.entries)-1] }

// write makes one attempt at the writes of the turn, and reports whether the store goes on with the lane: one of them has succeeded. Each is
// settled when the store has told how it went, so that what holds up one put of a batch is not felt by others.
func (t *writeTurn) write() (succeeded bool) {
	request, ok := t.request()
	if !ok {
		return true
	}
	call, err := t.lane.queue.calls.start(request, nil)
	if err == nil {
		<-call.done
		err = call.err
	}
	return t.end(err)
}

// request returns what the store is asked for, unless all sessions have expired in the queue. One that has is as good as deleted:
// alone it makes a delete, of several it is left out.
func (t *writeTurn) request() (request storeRequest, ok bool) {
	w, isAlone := t.lane.queue, len(t.entries) == 1
	now := w.now()
	request = storeRequest{method: storeDelete, key: t.entries[0].key}
	puts := make([]StorePut, 0, len(t.entries))
	written := t.entries[:0]
	for _, e := range t.entries {
		put, ok := w.record(e, now)
		if ok {
			puts = append(puts, put)
		}
		if ok || isAlone {
			written = append(written, e)
		} else {
			w.leaveOut(e)
		}
	}
	t.entries = written
	if len(puts) > 0 {
		request = storeRequest{method: storePut, puts: puts}
	}
	if t.isBatch = len(puts) > 1; t.isBatch {
		request.told = t.told
	}
	return request, len(written) > 0
}

// told settles a put of a batch. What a store tells after the call has ended is of no interest any more.
func (t *writeTurn) told(i int, err error) {
	t.lane.queue.mu.Lock()
	defer t.lane.queue.mu.Unlock()
	t.settle(i, err)
}

// settle notes how a write of the turn went, unless that was noted.
func (t *writeTurn) settle(i int, err error) {
	e := t.entries[i]
	if e == nil {
		return
	}
	t.entries[i] = nil
	t.succeeded = t.succeeded || err == nil
	if t.isBatch {
		t.lane.queue.calls.count(err)
	}
	t.lane.queue.settle(e, err)
}

// end settles what is left, when the call has ended.
func (t *writeTurn) end(err error) (succeeded bool) {
	t.lane.queue.mu.Lock()
	defer t.lane.queue.mu.Unlock()
	if t.isBatch && err == nil {
		err = errNoOutcome
	}
	for i := range t.entries {
		t.settle(i, err)
	}
	t.lane.failing = !t.succeeded
	t.lane.hire()
	return t.succeeded
}
