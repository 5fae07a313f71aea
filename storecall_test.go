package reprise_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/guard"
)

// TestStoreCallIsAContext: the one that the store gets is done when the call has ended, however that was.
func TestStoreCallIsAContext(t *testing.T) {
	hangs := func(context.Context) error { time.Sleep(time.Minute); return nil }
	for name, c := range map[string]struct {
		call  fault
		close bool // the binding, while the call is under way
		err   error
	}{
		"returns":         {func(context.Context) error { return nil }, false, context.Canceled},
		"fails":           {fail, false, context.Canceled},
		"hangs":           {hangs, false, context.DeadlineExceeded},
		"ends with Close": {hangs, true, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				n := newNode(t, store, nil, reprise.StoreOptions{ReadTimeout: time.Second})
				s := n.stored()
				calls := make(chan context.Context, 1)
				store.beforeCall(func(call context.Context) error {
					calls <- call
					if call.Err() != nil {
						t.Errorf("done at the beginning: %v", call.Err())
					}
					return c.call(call)
				}, "get")
				began := time.Now()
				if c.close {
					time.AfterFunc(time.Millisecond, func() { n.StoreBinding.Close(t.Context()) })
				}
				_, _ = n.get(s.ID())        // it is the context that counts
				time.Sleep(2 * time.Minute) // until all have returned
				ctx := <-calls
				select {
				case <-ctx.Done():
				default:
					t.Error("not done")
				}
				if !errors.Is(ctx.Err(), c.err) {
					t.Errorf("done with %v, want %v", ctx.Err(), c.err)
				}
				if deadline, ok := ctx.Deadline(); !ok || !deadline.Equal(began.Add(time.Second)) {
					t.Errorf("deadline after %v", deadline.Sub(began))
				}
				if !guard.Holds(ctx) {
					t.Error("the store is not told that nobody waits any longer")
				}
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				if derived.Err() == nil {
					t.Error("a context made of it is not done")
				}
			})
		})
	}
}
