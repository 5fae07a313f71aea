package reprise

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-tls/reprise/internal/workers"
)

// A writeBehind puts and deletes records behind the handshakes, and keeps what happens to one key in order (design: a
// record that was taken or deleted here must not be seen again here, and one that may have been written must not be
// used twice). For each key that has something to be written it knows the state that is wanted, a record or none, and the
// write that is under way. A worker writes what is wanted; if something else is wanted by then, the key has another turn. So
//
//   - a take or a delete cancels a put that is queued and waits for one under way;
//   - a take of a queued put wins, because no other node can have seen the record;
//   - a get is answered by what is wanted, before the store knows;
//   - a put is tried once: its outcome is unknown if it fails, and a second try could bring back what was taken or
//     deleted elsewhere meanwhile. A delete is tried until it succeeds.
//
// If the store takes several puts together, those of some milliseconds go in one call (see putbatch.go).
//
// Gets of one key at a time share one call of the store. A take or delete of the key makes its result void.
type writeBehind struct {
	calls      *storeCalls
	now        func() time.Time
	seal       func(StoreKey, unsealed) []byte // makes a record
	maxLength  int                             // of entries that begin with a put; twice as many may begin with a delete
	maxBytes   int
	maxWorkers int
	batchDelay time.Duration // how long puts are gathered; 0: the store takes them one by one
	goroutines *workers.Pool[*writeBehind]

	mu          sync.Mutex
	entries     map[StoreKey]*writeEntry
	first, last *writeEntry // those to be written
	bytes       int         // of the records to come of entries
	workers     int
	failing     bool        // the last write failed
	gathering   *time.Timer // not nil while puts are gathered for a batch
	waiting     int         // how many have been, then
	warned      time.Time   // of puts that were dropped
	closed      bool
	stopped     bool
	gaveUp      bool // on what was not written when it stopped
	flushes     map[*queueFlush]struct{}
	working     sync.WaitGroup
	lookups     map[StoreKey]*storeLookup
	counts      StoreStats // those of the queue
}

// A storeWrite is a put, or a delete if there is no session.
type storeWrite struct {
	unsealed
	tried   chan struct{} // if not nil, closed when it was
	leftOut bool          // of its batch: the session had expired
}

// unsealed is a session to be put. The worker that writes it makes the record: for many in a row that costs half of what it
// does in the middle of a handshake each.
type unsealed struct {
	session *Session
	key     *fleetKey // to seal it with
}

func (w *storeWrite) isPut() bool { return w.session != nil }

// size returns the length of the record, 0 of a delete.
func (w *storeWrite) size() int {
	if !w.isPut() {
		return 0
	}
	return w.session.recordLength()
}

// A writeEntry is a key that has something to be written.
type writeEntry struct {
	key     StoreKey
	want    *storeWrite // the last that was asked for; never nil
	running *storeWrite // the one under way; often want itself
	owes    bool        // a put took the place of a delete: if it fails or is left out, the delete is due
	queued  bool
	next    *writeEntry
}

// A queueFlush waits until what was to be written when it began is written.
type queueFlush struct {
	left map[*writeEntry]struct{}
	done chan struct{} // closed when none is left
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// put queues a session. It drops it if there is no room, and warns of that once a minute.
func (w *writeBehind) put(key StoreKey, u unsealed) {
	if dropped := w.tryPut(key, u); dropped > 0 {
		w.calls.logger.Warn("reprise: the store takes sessions slower than they come; new ones resume on this node alone", "dropped since the start", dropped)
	}
}

// tryPut returns how many sessions were dropped, if this one was and nobody was told for a minute.
func (w *writeBehind) tryPut(key StoreKey, u unsealed) (dropped uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write := &storeWrite{unsealed: u}
	e := w.entries[key]
	if w.closed || w.bytes+write.size() > w.maxBytes || e == nil && len(w.entries) >= w.maxLength {
		w.counts.PutsDropped++
		if now := w.now(); !w.closed && now.Sub(w.warned) >= time.Minute {
			w.warned = now
			return w.counts.PutsDropped
		}
		return 0
	}
	if e != nil && !e.want.isPut() {
		e.owes = true
	}
	w.bytes += write.size()
	w.want(key, e, write)
	return 0
}

// delete queues a delete, and reports whether there was room for it.
func (w *writeBehind) delete(key StoreKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.voidLookup(key)
	e := w.entries[key]
	switch {
	case e == nil && (w.closed || len(w.entries) >= 2*w.maxLength):
		w.counts.DeletesLost++
		return false
	case e == nil || e.want.isPut():
		w.want(key, e, &storeWrite{})
	}
	return true
}

// want makes a write the one that is wanted. e is the key's entry, if it has one.
func (w *writeBehind) want(key StoreKey, e *writeEntry, write *storeWrite) {
	if e == nil {
		e = &writeEntry{key: key}
		w.entries[key] = e
	} else if e.want != e.running {
		w.cancel(e.want)
	}
	e.want = write
	if e.running == nil {
		w.enqueue(e)
	}
}

// cancel gives up a write that no worker has begun.
func (w *writeBehind) cancel(write *storeWrite) {
	if write.isPut() {
		w.bytes -= write.size()
		w.counts.PutsCancelled++
	}
}

// take takes what is stored under a key: from the queue, or else from the store.
func (w *writeBehind) take(ctx context.Context, key StoreKey) (stored, error) {
	taken, decided, err := w.takeQueued(ctx, key)
	if decided || err != nil {
		return taken, err
	}
	defer w.voidAfter(key)
	call, err := w.calls.start(storeRequest{method: storeTake, key: key}, nil)
	if err != nil {
		return stored{}, err
	}
	return call.wait(ctx)
}

// takeQueued takes a session that is still to be put, and knows of one that is still to be deleted. It waits for a put that
// is under way; whether that one has arrived, only the store can tell.
func (w *writeBehind) takeQueued(ctx context.Context, key StoreKey) (taken stored, decided bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		w.voidLookup(key)
		e := w.entries[key]
		switch {
		case e == nil:
			return stored{}, false, nil
		case !e.want.isPut():
			return stored{}, true, nil
		case e.want != e.running:
			taken = stored{session: e.want.session}
			w.want(key, e, &storeWrite{})
			return taken, true, nil
		}
		if err := w.waitFor(ctx, e.running); err != nil {
			return stored{}, false, err
		}
	}
}

// waitFor waits for a write under way, without the lock.
func (w *writeBehind) waitFor(ctx context.Context, write *storeWrite) error {
	if write.tried == nil {
		write.tried = make(chan struct{})
	}
	tried := write.tried
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-tried:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reprise: waiting for a put under way: %w", ctx.Err())
	}
}

// enqueue gives an entry a turn.
func (w *writeBehind) enqueue(e *writeEntry) {
	if e.queued {
		return
	}
	e.queued = true
	isFirst := w.first == nil
	if isFirst {
		w.first = e
	} else {
		w.last.next = e
	}
	w.last = e
	if w.batchDelay > 0 && e.want.isPut() {
		w.gather(isFirst)
	} else {
		w.gathered()
	}
}

// hire starts a worker if there is work for one more. While writes fail, one is enough.
func (w *writeBehind) hire() {
	if w.first == nil || w.gathering != nil || w.stopped || w.workers >= w.maxWorkers || w.failing && w.workers > 0 {
		return
	}
	w.workers++
	w.working.Add(1)
	w.goroutines.Do(w)
}

// work writes until nothing is left to do.
func (w *writeBehind) work() {
	backoff := firstBackoff
	for w.storeWorks() {
		turn := w.next()
		if turn == nil {
			return
		}
		err := w.try(turn)
		w.settle(turn, err)
		if err == nil || !w.calls.breaker.closed() { // else the breaker says when to go on
			backoff = firstBackoff
			continue
		}
		select {
		case <-w.calls.ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
	w.leave()
}

// storeWorks waits until the breaker is closed, and returns false when the binding ends.
func (w *writeBehind) storeWorks() bool {
	for {
		again := w.calls.breaker.closedAgain()
		if again == nil {
			return w.calls.ctx.Err() == nil
		}
		select {
		case <-again:
		case <-w.calls.ctx.Done():
			return false
		}
	}
}

func (w *writeBehind) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers--
}

// next returns the entries whose turn it is: one, or several puts that make a batch. It returns nil if there is none; the
// worker has left then.
func (w *writeBehind) next() (turn []*writeEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil || w.gathering != nil || w.failing && w.workers > 1 {
		w.workers--
		return nil
	}
	turn = append(turn, w.dequeue())
	for size := turn[0].running.size(); w.inBatch(turn, size, w.first); size += turn[len(turn)-1].running.size() {
		turn = append(turn, w.dequeue())
	}
	return turn
}

// dequeue takes out the first entry and begins what is wanted of it.
func (w *writeBehind) dequeue() *writeEntry {
	e := w.first
	if w.first = e.next; w.first == nil {
		w.last = nil
	}
	e.next, e.queued = nil, false
	e.running = e.want
	return e
}

// try makes one attempt at the writes of a turn. A session that has expired in the queue is as good as deleted: alone it makes a
// delete, of a batch it is left out.
func (w *writeBehind) try(turn []*writeEntry) error {
	request := storeRequest{method: storeDelete, key: turn[0].key, puts: make([]StorePut, 0, len(turn))}
	now := w.now()
	for _, e := range turn {
		put, ok := w.record(e, now)
		if ok {
			request.method = storePut
			request.puts = append(request.puts, put)
		}
		e.running.leftOut = !ok && len(turn) > 1
	}
	call, err := w.calls.start(request, nil)
	if err != nil {
		return err
	}
	<-call.done
	return call.err
}

// record makes the record that an entry wants to be put. There is none if it wants a delete or the session has expired.
func (w *writeBehind) record(e *writeEntry, now time.Time) (put StorePut, ok bool) {
	if !e.running.isPut() {
		return put, false
	}
	put = StorePut{Key: e.key, Lifetime: e.running.session.Expiry().Sub(now)}
	if put.Lifetime <= 0 {
		return put, false
	}
	put.Record = w.seal(e.key, e.running.unsealed)
	return put, true
}

// settle notes how the writes of a turn went.
func (w *writeBehind) settle(turn []*writeEntry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err != nil
	for _, e := range turn {
		w.settleOne(e, err)
	}
	w.hire()
}

// settleOne notes how a write went, and gives its key another turn if there is more to do.
func (w *writeBehind) settleOne(e *writeEntry, err error) {
	write := e.running
	e.running = nil
	w.bytes -= write.size()
	if write.tried != nil {
		close(write.tried)
	}

	if err != nil && write.isPut() {
		w.counts.PutsFailed++
	}
	switch {
	case e.want != write:
		w.enqueue(e)
	case err == nil && !write.leftOut, write.isPut() && !e.owes:
		w.remove(e)
	default: // a delete again, or one that is due after all
		e.want = &storeWrite{}
		w.enqueue(e)
	}
}

func (w *writeBehind) remove(e *writeEntry) {
	delete(w.entries, e.key)
	for f := range w.flushes {
		if delete(f.left, e); len(f.left) == 0 {
			close(f.done)
			delete(w.flushes, f)
		}
	}
}

// flush waits until nothing is left of what is to be written now.
func (w *writeBehind) flush(ctx context.Context) error {
	f := w.beginFlush()
	if f == nil {
		return nil
	}
	defer w.endFlush(f)
	select {
	case <-f.done:
		return w.outcome()
	case <-ctx.Done():
		puts, deletes := w.length()
		return fmt.Errorf("reprise: %d puts and %d deletes are not written to the store: %w", puts, deletes, ctx.Err())
	}
}

// outcome returns an error if the queue is empty because it was given up.
func (w *writeBehind) outcome() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gaveUp {
		return fmt.Errorf("%w: the binding was closed before all was written", ErrStoreUnavailable)
	}
	return nil
}

// beginFlush returns nil if there is nothing to wait for.
func (w *writeBehind) beginFlush() *queueFlush {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.entries) == 0 {
		return nil
	}
	f := &queueFlush{left: make(map[*writeEntry]struct{}, len(w.entries)), done: make(chan struct{})}
	for _, e := range w.entries {
		f.left[e] = struct{}{}
	}
	if w.flushes == nil {
		w.flushes = make(map[*queueFlush]struct{})
	}
	w.flushes[f] = struct{}{}
	w.gathered()
	return f
}

// endFlush forgets one that nobody waits for any more.
func (w *writeBehind) endFlush(f *queueFlush) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flushes, f)
}

// stats returns the part of the counters that is the queue's.
func (w *writeBehind) stats() StoreStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.counts
	s.Queued, s.QueuedBytes = len(w.entries), w.bytes
	return s
}

// length returns how many keys have a put and a delete to be written.
func (w *writeBehind) length() (puts, deletes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if e.want.isPut() {
			puts++
		} else {
			deletes++
		}
	}
	return puts, deletes
}

// refuse makes puts and deletes of other keys fail from now on. It returns how many puts have failed so far.
func (w *writeBehind) refuse() (failed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.counts.PutsFailed
}

// stop waits for the workers, after the context of the calls has ended, and gives up what is not written.
func (w *writeBehind) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.working.Wait()
	puts, deletes := w.length()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.PutsDropped += uint64(puts)
	w.counts.DeletesLost += uint64(deletes)
	w.gaveUp = puts+deletes > 0
	for _, e := range w.entries {
		w.remove(e)
	}
	w.first, w.last, w.bytes = nil, nil, 0
}
