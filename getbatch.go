package reprise

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/reprise-tls/reprise/internal/guard"
)

// Gets make batches if the store is a [BatchGetter]: those of handshakes that have come at once go in one call. None waits while
// there is nothing else to do; but where a processor has more handshakes to go on with, these get to ask theirs before the call is
// made, which is most of what a get costs.

// maxGetBatch is how many gets make a batch at most.
const maxGetBatch = 64

// A getBatch is gets that one call is made for, by the goroutine of the first.
type getBatch struct{ calls []*storeCall }

// leads has a get join the batch that is gathering, and reports whether it is the first of another one.
func (c *storeCalls) leads(call *storeCall) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gathering != nil && len(c.gathering.calls) < maxGetBatch {
		c.gathering.calls = append(c.gathering.calls, call)
		return false
	}
	call.batch = &getBatch{[]*storeCall{call}}
	c.gathering = call.batch
	return true
}

// gather lets others join the batch that call leads, and returns all of its calls; nil if it leads none.
func (call *storeCall) gather() []*storeCall {
	if call.batch == nil {
		return nil
	}
	c := call.calls
	c.letOthersJoin()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gathering == call.batch {
		c.gathering = nil
	}
	return call.batch.calls
}

// letOthersJoin lets the goroutines go on that can. Where that has taken a good part of the time that a get has, the processors have far
// too much to do, and for a second nobody waits.
func (c *storeCalls) letOthersJoin() {
	begun := time.Now() //nolint:forbidigo // of a call, not of a session
	if begun.UnixNano() < c.hurryUntil.Load() {
		return
	}
	runtime.Gosched()
	if time.Since(begun) > c.readTimeout/5 { //nolint:forbidigo // of a call, not of a session
		c.hurryUntil.Store(begun.Add(time.Second).UnixNano())
	}
}

// errNoOutcome is the outcome of a get that a store has told nothing of.
var errNoOutcome = errors.New("the store has not told")

// runBatch is [storeCall.run] for all calls of a batch. Those that have ended before it could begin are left out.
func (c *storeCalls) runBatch(calls []*storeCall) {
	calls = slices.DeleteFunc(calls, func(call *storeCall) bool {
		hasEnded := call.Err() != nil
		if hasEnded {
			c.returned(call)
		}
		return hasEnded
	})
	if len(calls) == 0 {
		return
	}
	err := errStoreExited
	defer func() {
		for _, call := range calls {
			call.finish(nil, err) // those that have not been told
			c.returned(call)
		}
	}()
	if err = c.getBatch(calls); err == nil {
		err = errNoOutcome
	}
}

// getBatch calls the store until the last deadline of the calls.
func (c *storeCalls) getBatch(calls []*storeCall) (err error) {
	defer c.guard(storeMethodNames[storeGet], &err)
	deadline := calls[len(calls)-1].deadline
	ctx, cancel := context.WithDeadline(context.WithValue(c.ctx, guard.Key{}, deadline), deadline)
	defer cancel()
	keys := make([]StoreKey, len(calls))
	for i, call := range calls {
		keys[i] = call.request.key
	}
	c.batchGetter.GetBatch(ctx, keys, func(i int, record []byte, err error) {
		calls[i].finish(record, err)
		if i > 0 { // the first stands for the goroutine
			c.returned(calls[i])
		}
	})
	return nil
}
