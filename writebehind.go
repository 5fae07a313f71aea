package reprise

import (
	"context"
	"errors"
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
//     deleted elsewhere meanwhile. A delete is tried until it succeeds, and once more if such a put may arrive after it (lateput.go).
//
// Puts and deletes have lanes and workers of their own, in each partition of the store (see writelane.go): keys have no order among each
// other. If the store takes several puts together, those of some milliseconds go in one call (see putbatch.go).
//
// Gets of one key at a time share one call of the store. A take or delete of the key makes its result void.
type writeBehind struct {
	calls      *storeCalls
	now        func() time.Time
	seal       func(StoreKey, unsealed) []byte // makes a record
	maxLength  int                             // of entries that begin with a put, and of those that begin with a delete
	maxBytes   int                             // of the records to come
	maxWorkers int                             // of each lane
	batchDelay time.Duration                   // how long puts are gathered; 0: the store takes them one by one
	goroutines *workers.Pool[*writeLane]
	partitions *partitions

	mu      sync.Mutex
	entries map[StoreKey]*writeEntry
	room    writeRoom // that they take
	warned  time.Time // of puts that were dropped
	closed  bool
	stopped bool
	gaveUp  bool // on what was not written when it stopped
	flushes map[*queueFlush]struct{}
	hurry   chan struct{} // closed, and made anew, when a flush begins
	working sync.WaitGroup
	lookups map[StoreKey]*storeLookup
	late    latePuts
	counts  StoreStats // those of the queue
}

// A storeWrite is a put, or a delete if there is no session.
type storeWrite struct {
	unsealed
	tried chan struct{} // if not nil, closed when it was
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
	key        StoreKey
	home       *partition  // that it began in
	want       *storeWrite // the last that was asked for; nil before there was one
	running    *storeWrite // the one under way; often want itself
	isOfPut    bool        // it began with one
	owes       bool        // a put took the place of a delete: if it fails or is left out, the delete is due
	lane       *writeLane  // that it has a turn in; nil if there is none to come
	prev, next *writeEntry // in the lane
}

// writeRoom is what entries take of the queue: how many have begun with a put, and with a delete, and the bytes of the records to come.
type writeRoom struct{ puts, deletes, bytes int }

// change adds to it.
func (r *writeRoom) change(by writeRoom) {
	r.puts += by.puts
	r.deletes += by.deletes
	r.bytes += by.bytes
}

// A queueFlush waits until what was to be written when it began is written.
type queueFlush struct {
	left map[*writeEntry]*storeWrite
	done chan struct{} // closed when none is left
}

// put queues a session. It drops it if there is no room, and warns of that once a minute.
func (w *writeBehind) put(key StoreKey, u unsealed) {
	if dropped := w.tryPut(key, u); dropped > 0 {
		w.calls.logger.Warn("reprise: the store takes sessions slower than they come; new ones resume on this node alone", "dropped since the start", dropped)
	}
}

// tryPut returns how many sessions were dropped, if this one was and nobody was told for a minute.
func (w *writeBehind) tryPut(key StoreKey, u unsealed) (dropped uint64) {
	home := w.partitions.of(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	write := &storeWrite{unsealed: u}
	e := w.entries[key]
	room := w.roomLeft(home)
	if w.closed || room.bytes < write.size() || e == nil && room.puts <= 0 {
		w.counts.PutsDropped++
		if now := w.now(); !w.closed && now.Sub(w.warned) >= time.Minute {
			w.warned = now
			return w.counts.PutsDropped
		}
		return 0
	}
	delete(w.late, key)
	if e == nil {
		e = w.begin(&writeEntry{key: key, home: home, isOfPut: true})
	} else if !e.want.isPut() {
		e.owes = true
	}
	w.hold(e, write.size())
	w.want(e, home, write)
	return 0
}

// delete queues a delete, and reports whether there was room for it.
func (w *writeBehind) delete(key StoreKey) bool {
	home := w.partitions.of(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deleteIn(home, key)
}

// deleteIn is delete, under the lock, of a key that is in a partition now.
func (w *writeBehind) deleteIn(home *partition, key StoreKey) bool {
	w.voidLookup(key)
	e := w.entries[key]
	if e == nil {
		if w.closed || w.roomLeft(home).deletes <= 0 {
			w.counts.DeletesLost++
			return false
		}
		e = w.begin(&writeEntry{key: key, home: home})
	}
	if e.want == nil || e.want.isPut() {
		w.want(e, home, &storeWrite{})
	}
	return true
}

// roomLeft returns how much room there is for what begins in a partition. Where there are many, none of them may take more than it leaves to
// the others.
func (w *writeBehind) roomLeft(home *partition) writeRoom {
	left := writeRoom{w.maxLength - w.room.puts, w.maxLength - w.room.deletes, w.maxBytes - w.room.bytes}
	if w.partitions.areMany() {
		left.change(writeRoom{-home.room.puts, -home.room.deletes, -home.room.bytes})
	}
	return left
}

// begin adds an entry for a key that has none.
func (w *writeBehind) begin(e *writeEntry) *writeEntry {
	w.entries[e.key] = e
	w.count(e, 1)
	return e
}

// count counts an entry.
func (w *writeBehind) count(e *writeEntry, by int) {
	one := writeRoom{deletes: by}
	if e.isOfPut {
		one = writeRoom{puts: by}
	}
	w.room.change(one)
	e.home.room.change(one)
	e.home.entries.Add(int64(by))
}

// hold notes that an entry has so many bytes of records to come more.
func (w *writeBehind) hold(e *writeEntry, bytes int) {
	w.room.change(writeRoom{bytes: bytes})
	e.home.room.change(writeRoom{bytes: bytes})
}

// want makes a write the one that is wanted of an entry, whose key is in a partition now.
func (w *writeBehind) want(e *writeEntry, in *partition, write *storeWrite) {
	if e.want != nil && e.want != e.running {
		w.cancel(e)
	}
	e.want = write
	if e.running == nil {
		in.enqueue(e)
	}
}

// cancel gives up what is wanted of an entry, which no worker has begun.
func (w *writeBehind) cancel(e *writeEntry) {
	if e.want.isPut() {
		w.hold(e, -e.want.size())
		w.counts.PutsCancelled++
		w.isWritten(e, e.want)
	}
}

// enqueue gives an entry, whose key is in the partition now, a turn in the lane for what is wanted of it.
func (p *partition) enqueue(e *writeEntry) {
	lane := &p.deletes
	if e.want.isPut() {
		lane = &p.puts
	}
	if e.lane == lane {
		return
	}
	if e.lane != nil {
		e.lane.takeOut(e)
	}
	lane.add(e)
}

// take takes what is stored under a key: from the queue, or else from the store.
func (w *writeBehind) take(ctx context.Context, key StoreKey) (stored, error) {
	taken, decided, err := w.takeQueued(ctx, key)
	if decided || err != nil {
		return taken, err
	}
	defer w.voidAfter(key)
	call, err := w.calls.start(w.partitions.of(key), storeRequest{method: storeTake, key: key}, nil)
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
			w.want(e, w.partitions.of(key), &storeWrite{})
			return taken, true, nil
		case !w.partitions.of(key).breaker.closed():
			return stored{}, false, ErrStoreUnavailable // the put hangs
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

// errLeftOut is the outcome of a put that was not made because the session has expired.
var errLeftOut = errors.New("expired")

// settle notes how a write went, and gives its key another turn if there is more to do.
func (w *writeBehind) settle(e *writeEntry, err error) {
	write := e.running
	e.running = nil
	w.hold(e, -write.size())
	if write.tried != nil {
		close(write.tried)
	}
	if err != nil && !errors.Is(err, errLeftOut) && write.isPut() {
		w.counts.PutsFailed++
		w.late.add(e.key, w.now())
	}
	isDone := err == nil || write.isPut() && !e.owes
	if isDone {
		w.isWritten(e, write)
	}
	switch {
	case e.want != write:
		w.partitions.of(e.key).enqueue(e)
	case isDone:
		if !write.isPut() {
			w.deleteAgain(e.key)
		}
		w.remove(e)
	default: // a delete again, or one that is due after all
		e.want = &storeWrite{}
		w.partitions.of(e.key).enqueue(e)
	}
}

func (w *writeBehind) remove(e *writeEntry) {
	delete(w.entries, e.key)
	w.count(e, -1)
	w.isWritten(e, e.want)
}

// isWritten tells flushes that they need not wait for a write any more. One that waits for another write of the key does, until that is
// written or nothing is to be written.
func (w *writeBehind) isWritten(e *writeEntry, write *storeWrite) {
	for f := range w.flushes {
		if f.left[e] == write || w.entries[e.key] != e {
			delete(f.left, e)
		}
		if len(f.left) == 0 {
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
	f := &queueFlush{left: make(map[*writeEntry]*storeWrite, len(w.entries)), done: make(chan struct{})}
	for _, e := range w.entries {
		f.left[e] = e.want
	}
	if w.flushes == nil {
		w.flushes = make(map[*queueFlush]struct{})
	}
	w.flushes[f] = struct{}{}
	for _, p := range w.partitions.all() {
		p.puts.gathered()
	}
	close(w.hurry)
	w.hurry = make(chan struct{})
	return f
}

// hurried returns what is closed when somebody next waits for the queue to be written.
func (w *writeBehind) hurried() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hurry
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
	s.Queued, s.QueuedBytes = len(w.entries), w.room.bytes
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
		w.hold(e, -e.want.size())
		w.remove(e)
	}
}
