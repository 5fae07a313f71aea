package reprise

import (
	"context"
	"errors"
	"time"
)

// A writeLane is the keys of one partition of a store that have something to be put, or to be deleted, and the goroutines that do it: what
// one partition hangs on holds up no other, and puts that are refused no delete. All of it is under the lock of the queue.
type writeLane struct {
	queue     *writeBehind
	partition *partition

	first, last *writeEntry // those whose turn is to come
	workers     int
	failing     bool        // the last turn failed
	gathering   *time.Timer // not nil while puts are gathered for a batch
	waiting     int         // how many have been, then
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
	// rehomePause is how long the store may be left alone before what waits for it is looked at: it may lie in another partition now.
	rehomePause = time.Second
	// maxRehomed is how many keys are looked at, then.
	maxRehomed = 1000
)

// add gives an entry a turn, behind others.
func (l *writeLane) add(e *writeEntry) {
	isFirst := l.first == nil
	e.lane, e.prev, e.next = l, l.last, nil
	if isFirst {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	if l.queue.batchDelay > 0 && e.want.isPut() {
		l.gather(isFirst)
	} else {
		l.hire()
	}
}

// takeOut takes an entry out of the lane.
func (l *writeLane) takeOut(e *writeEntry) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.lane, e.prev, e.next = nil, nil, nil
}

// hire starts a worker if there is work for one more. While writes fail, or the store is left alone, one is enough.
func (l *writeLane) hire() {
	if l.first == nil || l.gathering != nil || l.queue.stopped || l.workers >= l.queue.maxWorkers {
		return
	}
	if l.workers > 0 && (l.failing || !l.partition.breaker.closed()) {
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
		err := turn.write()
		if err == nil || !l.partition.breaker.closed() { // which says when to go on
			backoff = firstBackoff
			continue
		}
		l.pause(backoff, l == &l.partition.puts && errors.Is(err, context.DeadlineExceeded))
		backoff = min(2*backoff, lastBackoff)
	}
	l.leave()
}

// storeWorks waits until the breaker is closed, and returns false when the binding ends.
func (l *writeLane) storeWorks() bool {
	for {
		again := l.partition.breaker.closedAgain()
		if again == nil {
			return l.queue.calls.ctx.Err() == nil
		}
		select {
		case <-again:
		case <-time.After(rehomePause):
			l.rehome()
		case <-l.queue.calls.ctx.Done():
			return false
		}
	}
}

// rehome gives the first entries a turn where their keys are now.
func (l *writeLane) rehome() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	var entries []*writeEntry
	for e := l.first; e != nil && len(entries) < maxRehomed; e = e.next {
		entries = append(entries, e)
	}
	for _, e := range entries {
		l.takeOut(e)
		l.queue.partitions.of(e.key).enqueue(e)
	}
}

// pause waits before another attempt, but not when somebody waits for the queue to be written. If the store has not answered a put, it
// waits until it answers a get: a put that is tried in vain is lost.
func (l *writeLane) pause(d time.Duration, hangs bool) {
	for {
		select {
		case <-l.queue.calls.ctx.Done():
			return
		case <-l.queue.hurried():
		case <-time.After(d):
		}
		if !hangs || l.queue.calls.ask(l.partition) == nil || !l.partition.breaker.closed() {
			return
		}
		d = min(2*d, breakerPause)
	}
}

func (l *writeLane) leave() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	l.workers--
}

// next begins another turn: one entry, or several puts that make a batch. Sessions that have expired in the queue are left out. It returns nil
// if there is nothing to do; the worker has left then.
func (l *writeLane) next() *writeTurn {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	turn := &writeTurn{lane: l, begun: l.queue.now()}
	if l.gathering == nil && (!l.failing || l.workers == 1) {
		for size := 0; l.first != nil && (len(turn.entries) == 0 || l.inBatch(turn, size)); {
			e := l.begin()
			if e.running.isPut() && !e.running.session.Expiry().After(turn.begun) {
				l.queue.settle(e, errLeftOut)
				continue
			}
			turn.entries = append(turn.entries, e)
			size += e.running.size()
		}
	}
	if len(turn.entries) == 0 {
		l.workers--
		return nil
	}
	return turn
}

// begin takes out the first entry and begins what is wanted of it.
func (l *writeLane) begin() *writeEntry {
	e := l.first
	l.takeOut(e)
	e.running = e.want
	return e
}
