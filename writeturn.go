package reprise

import "time"

// A writeTurn is what one call of the store writes: a put or a delete, or several puts.
type writeTurn struct {
	lane      *writeLane
	begun     time.Time
	entries   []*writeEntry // nil in the place of one that is settled
	isBatch   bool
	succeeded bool  // one of its writes
	failure   error // of the last that has failed
}

// write makes one attempt at the writes of the turn. Each is settled when the store has told how it went, so that what holds up one put
// of a batch is not felt by others. An error is that none has succeeded.
func (t *writeTurn) write() error {
	return t.end(outcomeOf(t.lane.queue.calls.start(t.lane.partition, t.request(), nil)))
}

// request returns what the store is asked for.
func (t *writeTurn) request() storeRequest {
	if !t.entries[0].running.isPut() {
		return storeRequest{method: storeDelete, key: t.entries[0].key}
	}
	request := storeRequest{method: storePut, puts: make([]StorePut, len(t.entries))}
	for i, e := range t.entries {
		put := &request.puts[i]
		put.Key, put.Lifetime = e.key, e.running.session.Expiry().Sub(t.begun)
		put.Record = t.lane.queue.seal(e.key, e.running.unsealed)
	}
	if t.isBatch = len(t.entries) > 1; t.isBatch {
		request.told = t.told
	}
	return request
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
	if err == nil {
		t.succeeded = true
	} else {
		t.failure = err
	}
	if t.isBatch {
		t.lane.queue.calls.count(err)
	}
	t.lane.queue.settle(e, err)
}

// end settles what is left, when the call has ended.
func (t *writeTurn) end(err error) error {
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
	if t.succeeded {
		return nil
	}
	return t.failure
}
