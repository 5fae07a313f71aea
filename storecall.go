package reprise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise/internal/stack"
)

// ErrStoreUnavailable is returned by the callbacks of a [StoreBinding] while its store is not asked: because it has failed
// several times in a row, or because the binding was closed.
var ErrStoreUnavailable = errors.New("reprise: store unavailable")

// errStorePanicked is the outcome of a call that panicked.
var errStorePanicked = errors.New("reprise: store panicked")

// maxStoreCalls bounds the calls of a store that run at a time. Only a store that does not return when its context
// is done gets there.
const maxStoreCalls = 4096

// storeCalls makes the calls of one store: each on a goroutine and with a deadline of its own, so that neither a store that
// hangs nor a client that goes away in the middle has a say. It counts them, and tells the breaker about reads, which are
// what handshakes wait for.
type storeCalls struct {
	store        Store
	incarnated   Incarnated // nil if the store is not
	swapper      Swapper    // nil if the store is not
	readTimeout  time.Duration
	writeTimeout time.Duration
	logger       *slog.Logger
	ctx          context.Context // ends with the binding
	breaker      breaker

	running  atomic.Int64
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

	numStoreMethods = int(iota)
)

var storeMethodNames = [numStoreMethods]string{"get", "take", "put", "delete", "value", "swap value"}

// reads reports whether handshakes wait for the method.
func (m storeMethod) reads() bool { return m == storeGet || m == storeTake }

// A storeRequest is a method and its arguments.
type storeRequest struct {
	method storeMethod
	key    StoreKey
	puts   []StorePut // of a put, instead of the key
	old    []byte     // of a swap
	value  []byte     // of a swap
}

// A storeCall is a call under way. Its results may be read when done is closed.
type storeCall struct {
	done   chan struct{}
	once   sync.Once
	record []byte // nil if there is none
	err    error
}

// start makes a call. Reads are refused while the breaker is not closed. ended, if not nil, is called when the call has
// ended, before it is done.
func (c *storeCalls) start(request storeRequest, ended func()) (*storeCall, error) {
	if request.method.reads() && !c.breaker.closed() {
		return nil, ErrStoreUnavailable
	}
	return c.startAnyway(request, ended)
}

// startAnyway is start for the breaker's own probe.
func (c *storeCalls) startAnyway(request storeRequest, ended func()) (*storeCall, error) {
	if c.ctx.Err() != nil {
		return nil, ErrStoreUnavailable
	}
	if c.running.Add(1) > maxStoreCalls {
		c.running.Add(-1)
		return nil, fmt.Errorf("%w: %d calls are under way", ErrStoreUnavailable, maxStoreCalls)
	}
	c.calls[request.method].Add(uint64(max(1, len(request.puts))))
	timeout := c.writeTimeout
	if request.method.reads() {
		timeout = c.readTimeout
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	call := &storeCall{done: make(chan struct{})}
	end := func(record []byte, err error) {
		call.once.Do(func() {
			call.record, call.err = record, c.judge(ctx, request.method, err)
			if ended != nil {
				ended()
			}
			close(call.done)
		})
	}
	late := context.AfterFunc(ctx, func() { end(nil, ctx.Err()) })
	go func() {
		defer c.running.Add(-1)
		defer cancel()
		record, err := c.do(ctx, request)
		late()
		end(record, err)
	}()
	return call, nil
}

// do calls the store. A panic is an error.
func (c *storeCalls) do(ctx context.Context, r storeRequest) (record []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logger.Error("reprise: store panicked", "method", storeMethodNames[r.method], "panic", fmt.Sprint(p), "stack", stack.Trace())
			err = errStorePanicked
		}
	}()
	ok := false
	switch r.method {
	case storeGet:
		record, ok, err = c.store.Get(ctx, r.key)
	case storeTake:
		record, ok, err = c.take(ctx, r.key)
	case storePut:
		return nil, c.put(ctx, r.puts)
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
func (c *storeCalls) put(ctx context.Context, puts []StorePut) error {
	if len(puts) == 1 {
		return c.store.Put(ctx, puts[0].Key, puts[0].Record, puts[0].Lifetime)
	}
	return c.store.(BatchPutter).PutBatch(ctx, puts)
}

// judge counts the outcome of a call and returns its error with what it was about. After the deadline every error is that.
func (c *storeCalls) judge(ctx context.Context, m storeMethod, err error) error {
	if c.ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err) // closed: no fault of the store
	}
	if m.reads() {
		c.breaker.record(err)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		c.timeouts.Add(1)
	} else {
		c.errors.Add(1)
	}
	return fmt.Errorf("reprise: store %s: %w", storeMethodNames[m], err)
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
	call, err := v.calls.start(r, nil)
	if err != nil {
		return nil, err
	}
	outcome, err := call.wait(ctx)
	return outcome.record, err
}

// wait returns the outcome of the call, or an error when ctx is done; the call then goes on.
func (call *storeCall) wait(ctx context.Context) (stored, error) {
	select {
	case <-call.done:
		return stored{record: call.record}, call.err
	case <-ctx.Done():
		return stored{}, fmt.Errorf("reprise: waiting for the store: %w", ctx.Err())
	}
}
