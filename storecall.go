package reprise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise/internal/guard"
	"github.com/reprise-tls/reprise/internal/stack"
	"github.com/reprise-tls/reprise/internal/workers"
)

// ErrStoreUnavailable is returned by the callbacks of a [StoreBinding] while its store is not asked: because it has failed
// several times in a row, or because the binding was closed.
var ErrStoreUnavailable = errors.New("reprise: store unavailable")

// What becomes of a call that panics, or ends its goroutine.
var (
	errStorePanicked = errors.New("reprise: store panicked")
	errStoreExited   = errors.New("reprise: store ended the goroutine")
)

// maxStoreCalls bounds the calls of a store that run at a time. Only a store that does not return when its context
// is done gets there.
const maxStoreCalls = 4096

// storeCalls makes the calls of one store: on goroutines of their own, and each with a deadline of its own, so that neither a store that
// hangs nor a client that goes away in the middle has a say. It counts them, and tells the breaker about reads, which are
// what handshakes wait for.
type storeCalls struct {
	store        Store
	incarnated   Incarnated  // nil if the store is not
	swapper      Swapper     // nil if the store is not
	batchGetter  BatchGetter // nil if the store is not
	readTimeout  time.Duration
	writeTimeout time.Duration
	logger       *slog.Logger
	ctx          context.Context // ends with the binding
	workers      *workers.Pool[*storeCall]
	partitions   *partitions

	mu        sync.Mutex
	running   int                     // calls that have not returned
	waitedFor map[*storeCall]struct{} // those that have not ended
	gathering *getBatch               // that a get can join; nil if there is none

	hurryUntil atomic.Int64 // in Unix nanoseconds: until then no get waits for others

	calls    [numStoreMethods]atomic.Uint64
	errors   atomic.Uint64
	timeouts atomic.Uint64
	stale    atomic.Uint64 // records of another life of the store
}

type storeMethod int

const (
	storeGet storeMethod = iota
	storeTake
	storePut
	storeDelete
	storeValue
	storeSwap
	storeAsk // a get that nobody waits for but a writer

	numStoreMethods = int(iota)
)

var storeMethodNames = [numStoreMethods]string{"get", "take", "put", "delete", "value", "swap value", "get"}

// reads reports whether handshakes wait for the method.
func (m storeMethod) reads() bool { return m == storeGet || m == storeTake }

// A storeRequest is a method and its arguments.
type storeRequest struct {
	method storeMethod
	key    StoreKey
	puts   []StorePut             // of a put, instead of the key
	told   func(i int, err error) // of several puts: called with the outcome of each, by any goroutine
	old    []byte                 // of a swap
	value  []byte                 // of a swap
}

// A storeCall is a call under way. Its results may be read when done is closed. It is the context that the store is called with,
// too, unless it is one of a batch: done when the call has ended, by the store, at its deadline or with the binding.
type storeCall struct {
	calls     *storeCalls
	request   storeRequest
	partition *partition
	ended     func()    // if not nil, called before done is closed
	batch     *getBatch // that it makes the call for; nil if it is for itself alone
	deadline  time.Time
	timer     *time.Timer

	hasReturned bool // under calls.mu

	once   sync.Once
	done   chan struct{}
	record []byte // nil if there is none
	err    error
	cause  error // why it is done, as a context says
}

// start makes a call of a partition. Reads are refused while its breaker is not closed. ended, if not nil, is called when the call has
// ended, before it is done.
func (c *storeCalls) start(p *partition, request storeRequest, ended func()) (*storeCall, error) {
	if request.method.reads() && !p.breaker.closed() {
		return nil, ErrStoreUnavailable
	}
	return c.startAnyway(p, request, ended)
}

// startAnyway is start for the breaker's own probe.
func (c *storeCalls) startAnyway(p *partition, request storeRequest, ended func()) (*storeCall, error) {
	call := &storeCall{calls: c, partition: p, request: request, ended: ended, done: make(chan struct{})}
	timeout := c.timeout(request.method)
	call.deadline = time.Now().Add(timeout) //nolint:forbidigo // of a call, not of a session
	if err := c.admit(call); err != nil {
		return nil, err
	}
	c.calls[request.method].Add(uint64(max(1, len(request.puts))))
	call.timer = time.AfterFunc(timeout, call.expire)
	if request.method != storeGet || c.batchGetter == nil || c.leads(call) {
		c.workers.Do(call)
	}
	return call, nil
}

// timeout returns how long a call may take.
func (c *storeCalls) timeout(m storeMethod) time.Duration {
	switch {
	case m.reads():
		return c.readTimeout
	case m == storeAsk:
		return min(c.writeTimeout, maxAskTimeout)
	}
	return c.writeTimeout
}

// admit notes a call. It refuses those that come after the binding has ended, or when too many run.
func (c *storeCalls) admit(call *storeCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return ErrStoreUnavailable
	}
	most := maxStoreCalls
	if c.partitions.areMany() {
		most /= 2
	}
	if c.running == maxStoreCalls || call.partition.running >= most {
		return fmt.Errorf("%w: %d calls are under way", ErrStoreUnavailable, c.running)
	}
	c.running++
	call.partition.running++
	c.waitedFor[call] = struct{}{}
	return nil
}

// run makes the call, however long that takes. One that has ended before it could begin is not made: the binding may be closed by then,
// and the store too, or a delete have followed the put.
func (call *storeCall) run() {
	if calls := call.gather(); len(calls) > 1 {
		call.calls.runBatch(calls)
		return
	}
	defer call.calls.returned(call)
	record, err := []byte(nil), errStoreExited
	defer func() { call.finish(record, err) }()
	if call.Err() == nil {
		record, err = call.calls.do(call, call.request)
	}
}

// finish ends a call that the store has answered.
func (call *storeCall) finish(record []byte, err error) {
	call.timer.Stop()
	call.end(record, err, context.Canceled)
}

// returned notes that the store is done with a call.
func (c *storeCalls) returned(call *storeCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !call.hasReturned {
		call.hasReturned = true
		c.running--
		call.partition.running--
	}
}

// expire ends a call at its deadline.
func (call *storeCall) expire() { call.end(nil, context.DeadlineExceeded, context.DeadlineExceeded) }

// giveUp ends all calls, with the binding.
func (c *storeCalls) giveUp() {
	c.mu.Lock()
	calls := slices.Collect(maps.Keys(c.waitedFor))
	c.mu.Unlock()
	for _, call := range calls {
		call.end(nil, context.Canceled, context.Canceled)
	}
}

// end ends the call, if it has not ended yet.
func (call *storeCall) end(record []byte, err, cause error) {
	call.once.Do(func() {
		call.calls.forget(call)
		call.record, call.err, call.cause = record, call.calls.judge(call, err), cause
		if call.ended != nil {
			call.ended()
		}
		close(call.done)
	})
}

func (c *storeCalls) forget(call *storeCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waitedFor, call)
}

// Deadline implements [context.Context].
func (call *storeCall) Deadline() (deadline time.Time, ok bool) { return call.deadline, true }

// Done implements [context.Context].
func (call *storeCall) Done() <-chan struct{} { return call.done }

// Err implements [context.Context].
func (call *storeCall) Err() error {
	select {
	case <-call.done:
		return call.cause
	default:
		return nil
	}
}

// Value implements [context.Context]. Nobody waits for the call after its deadline.
func (call *storeCall) Value(key any) any {
	if _, ok := key.(guard.Key); ok {
		return call.deadline
	}
	return nil
}

// guard is deferred around every call: a panic is an error.
func (c *storeCalls) guard(method string, failed *error) {
	if with := recover(); with != nil {
		c.reportPanic(method, with, stack.Trace())
		if failed != nil {
			*failed = errStorePanicked
		}
	}
}

// reportPanic logs what a method of the store has panicked with.
func (c *storeCalls) reportPanic(method string, with any, trace string) {
	c.logger.Error("reprise: store panicked", "method", method, "panic", fmt.Sprint(with), "stack", trace)
}

// do calls the store.
func (c *storeCalls) do(ctx context.Context, r storeRequest) (record []byte, err error) {
	defer c.guard(storeMethodNames[r.method], &err)
	ok := false
	switch r.method {
	case storeGet, storeAsk:
		record, ok, err = c.store.Get(ctx, r.key)
	case storeTake:
		record, ok, err = c.take(ctx, r.key)
	case storePut:
		return nil, c.put(ctx, r)
	case storeValue:
		return c.swapper.Value(ctx, r.key)
	case storeSwap:
		record = r.value
		ok, err = c.swapper.SwapValue(ctx, r.key, r.old, r.value)
	default:
		return nil, c.store.Delete(ctx, r.key)
	}
	if !ok {
		return nil, err
	}
	return record, err
}

// take makes a take. A record of another life of the store may have been taken before: it is as good as gone.
func (c *storeCalls) take(ctx context.Context, key StoreKey) (record []byte, ok bool, err error) {
	if c.incarnated == nil {
		return c.store.Take(ctx, key)
	}
	record, incarnation, ok, err := c.incarnated.TakeIncarnated(ctx, key)
	if err != nil || !ok {
		return nil, false, err
	}
	if header, err := ParseRecordHeader(record); err == nil && header.Incarnation != incarnation {
		c.stale.Add(1)
		return nil, false, nil
	}
	return record, true, nil
}

// put makes one put, or several if the store takes them together.
func (c *storeCalls) put(ctx context.Context, r storeRequest) error {
	if len(r.puts) == 1 {
		return c.store.Put(ctx, r.puts[0].Key, r.puts[0].Record, r.puts[0].Lifetime)
	}
	c.store.(BatchPutter).PutBatch(ctx, r.puts, r.told)
	return nil
}

// judge counts the outcome of a call and returns its error with what it was about. After the deadline every error is that.
func (c *storeCalls) judge(call *storeCall, err error) error {
	if c.ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err) // closed: no fault of the store
	}
	if err != nil && !time.Now().Before(call.deadline) { //nolint:forbidigo // of a call, not of a session
		err = context.DeadlineExceeded
	}
	method := call.request.method
	if method.reads() {
		call.partition.breaker.record(err)
	}
	if err == nil {
		return nil
	}
	if call.request.told == nil {
		c.count(err)
	}
	return fmt.Errorf("reprise: store %s: %w", storeMethodNames[method], err)
}

// count counts how a call went, or a put of several.
func (c *storeCalls) count(err error) {
	switch {
	case err == nil || c.ctx.Err() != nil || errors.Is(err, ErrStoreUnavailable):
	case errors.Is(err, context.DeadlineExceeded):
		c.timeouts.Add(1)
	default:
		c.errors.Add(1)
	}
}

// maxAskTimeout is how long a store may take that is asked whether it answers: it is to be written to again within 2 seconds.
const maxAskTimeout = time.Second

// ask asks a partition for a record that nobody has put, and returns nil if it has answered. It may take longer than a lookup, and is nothing
// to the breaker.
func (c *storeCalls) ask(p *partition) error {
	return outcomeOf(c.start(p, storeRequest{method: storeAsk, key: c.partitions.keyIn(p)}, nil))
}

// outcomeOf waits for a call, if it was started.
func outcomeOf(call *storeCall, err error) error {
	if err != nil {
		return err
	}
	<-call.done
	return call.err
}

// probe is ask for the breaker. It waits for no answer while the last one has not come.
func (c *storeCalls) probe(p *partition) error {
	if p.probe != nil && !c.hasReturned(p.probe) {
		return errStillAsked
	}
	call, err := c.startAnyway(p, storeRequest{method: storeGet, key: c.partitions.keyIn(p)}, nil)
	if err == nil {
		p.probe = call
	}
	return outcomeOf(call, err)
}

var errStillAsked = errors.New("the store has not returned from a probe")

func (c *storeCalls) hasReturned(call *storeCall) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return call.hasReturned
}

// storeValues are the values of the store.
type storeValues struct{ calls *storeCalls }

// Value implements [Swapper].
func (v storeValues) Value(ctx context.Context, key StoreKey) (value []byte, err error) {
	return v.do(ctx, storeRequest{method: storeValue, key: key})
}

// SwapValue implements [Swapper].
func (v storeValues) SwapValue(ctx context.Context, key StoreKey, old, value []byte) (swapped bool, err error) {
	swappedIn, err := v.do(ctx, storeRequest{method: storeSwap, key: key, old: old, value: value})
	return swappedIn != nil, err
}

func (v storeValues) do(ctx context.Context, r storeRequest) ([]byte, error) {
	call, err := v.calls.start(v.calls.partitions.of(r.key), r, nil)
	if err != nil {
		return nil, err
	}
	outcome, err := call.wait(ctx)
	return outcome.record, err
}

// wait returns the outcome of the call, or an error when ctx is done; the call then goes on.
func (call *storeCall) wait(ctx context.Context) (stored, error) {
	if ctx.Done() == nil {
		<-call.done
		return stored{record: call.record}, call.err
	}
	select {
	case <-call.done:
		return stored{record: call.record}, call.err
	case <-ctx.Done():
		return stored{}, fmt.Errorf("reprise: waiting for the store: %w", ctx.Err())
	}
}
