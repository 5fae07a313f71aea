package reprise_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// A batchStore is a faultyStore that takes several puts together. The method with the faults of a batch is "batch"; it is
// seen as "batch of 2".
type batchStore struct {
	faultyStore
	beforePut func(ctx context.Context, i int) error // if not nil, delays or fails one put of a batch
}

func (s *batchStore) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(i int, err error)) {
	put := func(p reprise.StorePut) error {
		return s.Store.Put(context.WithoutCancel(ctx), p.Key, p.Record, p.Lifetime)
	}
	failed := s.call(ctx, "batch", func() (err error) {
		s.calls[len(s.calls)-1] = fmt.Sprintf("batch of %d", len(puts))
		for i := 0; i < len(puts) && s.beforePut == nil && err == nil; i++ {
			err = put(puts[i])
		}
		return err
	})
	var work sync.WaitGroup
	for i, p := range puts {
		if failed != nil || s.beforePut == nil {
			done(i, failed)
			continue
		}
		work.Go(func() {
			err := s.beforePut(ctx, i)
			if err == nil {
				err = put(p)
			}
			done(i, err)
		})
	}
	work.Wait()
}

func (s *batchStore) BatchDelay() time.Duration { return 10 * time.Millisecond }

// announceEach makes and announces sessions.
func (n *node) announceEach(count int) (sessions []*reprise.Session) {
	for range count {
		sessions = append(sessions, n.make())
		n.announce(sessions[len(sessions)-1])
	}
	return sessions
}

func TestPutsOfAFewMillisecondsMakeABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, reprise.StoreOptions{}), newNode(t, store, keys, reprise.StoreOptions{})
		sessions := n.announceEach(2)
		time.Sleep(9 * time.Millisecond)
		sessions = append(sessions, n.announceEach(1)...)
		store.saw(t)
		time.Sleep(2 * time.Millisecond)
		store.saw(t, "batch of 3")
		for _, s := range sessions {
			other.has(s)
		}
		sessions = n.announceEach(1)
		time.Sleep(11 * time.Millisecond)
		other.has(sessions[0])
		if got := n.stats(); got.Puts != 4 || got.Queued != 0 {
			t.Errorf("%d puts, %d queued", got.Puts, got.Queued)
		}
	})
}

func TestOnePutIsNoBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		n.announceEach(1)
		time.Sleep(11 * time.Millisecond)
		store.saw(t, "put")
	})
}

func TestBatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		n.announceEach(255)
		synctest.Wait()
		store.saw(t)
		f, release := hang()
		store.beforeCall(f, "batch")
		n.announceEach(1)
		synctest.Wait() // but not for the time that puts may wait
		if got := store.started(); len(got) != 1 {
			t.Errorf("the store was called for %q, want a batch", got)
		}
		n.announceEach(256 + 2)
		release()
		n.flush()
		store.saw(t, "batch of 256", "batch of 256", "batch of 2")
	})
}

// TestBatchIsBoundedInBytes: what else uses the store's connection waits for a batch, and client chains make long records.
func TestBatchIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		for range 25 {
			n.announce(n.make(func(p *reprise.SessionParams) { p.ApplicationData = [][]byte{make([]byte, 25<<10)} }))
		}
		n.flush()
		store.saw(t, "batch of 10", "batch of 10", "batch of 5")
	})
}

func TestFlushDoesNotWaitForABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		began := time.Now()
		n.announceEach(2)
		n.flush()
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited %v", waited)
		}
		store.saw(t, "batch of 2")
	})
}

// TestFlushWaitsForNothingThatComesLater: sessions never stop to come.
func TestFlushWaitsForNothingThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		store.beforeCall(slow(5*time.Millisecond), "batch", "put")
		n := newNode(t, store, nil, oneWriter)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			for ctx.Err() == nil {
				n.announceEach(1)
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		n.flush()
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("took %v", took)
		}
		stop()
		synctest.Wait()
	})
}

func TestDeleteDoesNotWaitForABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		s := n.stored()
		n.announceEach(2)
		n.remove(s, reprise.RemovedExplicitly)
		synctest.Wait()
		store.saw(t, "put", "delete")
		n.hasNot(s)
	})
}

func TestTakeOfAPutThatWaitsForABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		s := n.make(singleUse)
		n.announce(s)
		n.announceEach(2)
		n.has(s)
		n.takes(s, true)
		synctest.Wait()
		n.takes(s, false)
		n.hasNot(s)
		time.Sleep(11 * time.Millisecond)
		store.saw(t, "delete", "take", "get", "batch of 2")
		n.hasNot(s)
	})
}

// TestFailedBatch: the outcome of its puts is unknown, so none is tried again; and the next ones go one by one until
// one succeeds.
func TestFailedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		store.beforeCall(fail, "batch")
		n.announceEach(256 + 3)
		time.Sleep(11 * time.Millisecond)
		store.beforeCall(nil, "batch")
		n.flush()
		store.saw(t, "put", "batch of 2")
		got := n.stats()
		if got.PutsFailed != 256 || got.Errors != 256 {
			t.Errorf("%d puts failed, %d errors", got.PutsFailed, got.Errors)
		}
	})
}

func TestExpiredPutIsLeftOutOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, oneWriter)
		brief := n.make(func(p *reprise.SessionParams) { p.Timeout = time.Millisecond })
		n.announceEach(1)
		n.announce(brief)
		n.announceEach(1)
		time.Sleep(11 * time.Millisecond)
		n.flush()
		store.saw(t, "batch of 2")
		if got := n.stats(); got.PutsFailed+got.Errors != 0 {
			t.Errorf("%d puts failed, %d errors", got.PutsFailed, got.Errors)
		}
	})
}

// TestCloseDuringABatch: that it is given up is no fault of the store.
func TestCloseDuringABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		store.beforePut = func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
		n := newNode(t, store, nil, reprise.StoreOptions{})
		n.announceEach(3)
		time.Sleep(11 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := n.StoreBinding.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if got := n.stats(); got.PutsFailed != 3 || got.Errors+got.Timeouts != 0 {
			t.Errorf("%d puts failed, %d errors, %d timeouts", got.PutsFailed, got.Errors, got.Timeouts)
		}
	})
}

// TestExpiredPutAfterDelete: a put that is left out of its batch still owes the delete whose place it took.
func TestExpiredPutAfterDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{Writers: 1, WriteTimeout: time.Hour})
		first := n.stored()
		release := n.busy(&store.faultyStore)
		n.remove(first, reprise.RemovedExplicitly)
		n.announceEach(1)
		n.announce(again(t, first, n.make(func(p *reprise.SessionParams) { p.Timeout = time.Second })))
		n.announceEach(1)
		time.Sleep(time.Minute)
		release()
		n.flush()
		n.hasNot(first)
		store.saw(t, "put", "put", "batch of 2", "delete", "delete", "get")
	})
}
