package reprise

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// A countingStore counts gets.
type countingStore struct {
	Store
	gets int
}

func (s *countingStore) Get(context.Context, StoreKey) (record []byte, ok bool, err error) {
	s.gets++
	return nil, false, nil
}

// newCalls returns calls of a store without partitions, whose breaker never closes again.
func newCalls(t *testing.T, s Store) *storeCalls {
	c := &storeCalls{
		store: s, ctx: t.Context(), waitedFor: make(map[*storeCall]struct{}), partitions: new(partitions),
		readTimeout: time.Second, logger: slog.New(slog.DiscardHandler),
	}
	c.partitions.init(s, c.reportPanic, func(string) *partition {
		return &partition{breaker: breaker{
			ctx: t.Context(), probe: func() error { return errors.New("never asked") }, changed: func(BreakerState, error) {},
		}}
	})
	return c
}

// TestCallThatHasEndedIsNotBegun: the goroutine of a call can get to run when the binding, and the store, are closed.
func TestCallThatHasEndedIsNotBegun(t *testing.T) {
	for name, end := range map[string]func(*storeCall){
		"late":    (*storeCall).expire,
		"closed":  func(call *storeCall) { call.calls.giveUp() },
		"in time": func(*storeCall) {},
	} {
		t.Run(name, func(t *testing.T) {
			store := &countingStore{}
			calls := newCalls(t, store)
			call := &storeCall{
				calls: calls, partition: calls.partitions.whole, request: storeRequest{method: storeGet}, done: make(chan struct{}),
				deadline: time.Now().Add(time.Minute), timer: time.NewTimer(time.Minute),
			}
			if err := calls.admit(call); err != nil {
				t.Fatal(err)
			}
			end(call)
			hasEnded := call.Err() != nil
			call.run()
			if begun := store.gets > 0; begun == hasEnded || calls.running != 0 {
				t.Errorf("ended before: %v, begun: %v, %d running", hasEnded, begun, calls.running)
			}
		})
	}
}
