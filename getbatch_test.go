package reprise

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise/internal/guard"
	"github.com/reprise-tls/reprise/internal/workers"
)

// A togetherStore gets batches, and counts them.
type togetherStore struct {
	Store
	getBatch func(ctx context.Context, keys []StoreKey, done func(int, []byte, error))

	mu      sync.Mutex
	batches []int // how many keys each had
	single  int
}

func (s *togetherStore) Get(context.Context, StoreKey) (record []byte, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.single++
	return []byte("record"), true, nil
}

func (s *togetherStore) GetBatch(ctx context.Context, keys []StoreKey, done func(int, []byte, error)) {
	s.mu.Lock()
	s.batches = append(s.batches, len(keys))
	s.mu.Unlock()
	s.getBatch(ctx, keys, done)
}

// callsOf returns the calls of a store, which are made when it lets them be.
func callsOf(t *testing.T, s *togetherStore) (c *storeCalls, release func()) {
	c = newCalls(t, s)
	c.batchGetter = s
	held := make(chan struct{})
	c.workers = workers.New(t.Context().Done(), func(call *storeCall) { <-held; call.run() })
	return c, func() { close(held) }
}

func (c *storeCalls) startGets(t *testing.T, n int) (calls []*storeCall) {
	t.Helper()
	for i := range n {
		call, err := c.start(c.partitions.whole, storeRequest{method: storeGet, key: StoreKey{byte(i)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	return calls
}

// TestGetsThatComeAtOnceMakeABatch of a bounded length. Each get has its own outcome.
func TestGetsThatComeAtOnceMakeABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &togetherStore{getBatch: func(ctx context.Context, keys []StoreKey, done func(int, []byte, error)) {
			deadline, _ := ctx.Deadline()
			if left := time.Until(deadline); left != time.Second || !guard.Holds(ctx) {
				t.Errorf("the store has %v, guarded: %v", left, guard.Holds(ctx))
			}
			for i, key := range keys {
				switch key[0] % 3 {
				case 0:
					done(i, key[:], nil)
				case 1:
					done(i, nil, nil)
				default:
					done(i, nil, errNoOutcome)
				}
			}
		}}
		c, release := callsOf(t, s)
		calls := c.startGets(t, 2*maxGetBatch+1)
		release()
		synctest.Wait()
		if slices.Sort(s.batches); !slices.Equal(s.batches, []int{maxGetBatch, maxGetBatch}) || s.single != 1 {
			t.Errorf("batches of %d and %d gets alone, want two of %d and 1", s.batches, s.single, maxGetBatch)
		}
		for i, call := range calls[:2*maxGetBatch] {
			got, err := call.wait(t.Context())
			wantRecord, wantErr := i%3 == 0, i%3 == 2
			if (got.record != nil) != wantRecord || wantRecord && got.record[0] != byte(i) || errors.Is(err, errNoOutcome) != wantErr {
				t.Errorf("get %d: %x, %v", i, got.record, err)
			}
		}
		if c.running != 0 || len(c.waitedFor) != 0 || c.gathering != nil {
			t.Errorf("%d run, %d are waited for, and others gather: %v", c.running, len(c.waitedFor), c.gathering != nil)
		}
		if gets, failed := c.calls[storeGet].Load(), c.errors.Load(); gets != 2*maxGetBatch+1 || failed != 42 {
			t.Errorf("%d gets and %d errors were counted", gets, failed)
		}
	})
}

// TestBatchLeavesOutWhatHasEnded before it could begin: the binding may be closed by then.
func TestBatchLeavesOutWhatHasEnded(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(c *storeCalls, calls []*storeCall)
		want []int // keys of each batch
	}{
		"one":       {func(_ *storeCalls, calls []*storeCall) { calls[1].expire() }, []int{2}},
		"the first": {func(_ *storeCalls, calls []*storeCall) { calls[0].expire() }, []int{2}},
		"all":       {func(c *storeCalls, _ []*storeCall) { c.giveUp() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &togetherStore{getBatch: func(_ context.Context, keys []StoreKey, done func(int, []byte, error)) {
					for i := range keys {
						done(i, keys[i][:], nil)
					}
				}}
				calls, release := callsOf(t, s)
				gets := calls.startGets(t, 3)
				c.end(calls, gets)
				release()
				synctest.Wait()
				if !slices.Equal(s.batches, c.want) || calls.running != 0 || len(calls.waitedFor) != 0 {
					t.Errorf("batches of %d, want %d; %d run, %d are waited for", s.batches, c.want, calls.running, len(calls.waitedFor))
				}
			})
		})
	}
}

// TestBatchHoldsUpNobody: a get that hangs keeps none of those from counting as done that the store has told of, but for the goroutine.
func TestBatchHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		s := &togetherStore{getBatch: func(_ context.Context, keys []StoreKey, done func(int, []byte, error)) {
			for i := range keys[:9] {
				done(i, nil, nil)
			}
			<-held
		}}
		calls, release := callsOf(t, s)
		calls.startGets(t, 10)
		release()
		synctest.Wait()
		if calls.running != 2 {
			t.Errorf("%d calls run: want the one that hangs, and one for the goroutine", calls.running)
		}
		close(held)
		synctest.Wait()
		if calls.running != 0 {
			t.Errorf("%d calls run on", calls.running)
		}
	})
}

// TestBatchThatGoesWrong: what the store has told counts, and each get ends in time.
func TestBatchThatGoesWrong(t *testing.T) {
	for name, c := range map[string]struct {
		rest func(ctx context.Context)
		want error
	}{
		"tells nothing":      {func(context.Context) {}, errNoOutcome},
		"panics":             {func(context.Context) { panic("broken") }, errStorePanicked},
		"ends its goroutine": {func(context.Context) { runtime.Goexit() }, errStoreExited},
		"hangs":              {func(ctx context.Context) { <-ctx.Done() }, context.DeadlineExceeded},
		"hangs for a minute": {func(context.Context) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &togetherStore{getBatch: func(ctx context.Context, keys []StoreKey, done func(int, []byte, error)) {
					for i := range keys[:2] {
						done(i, keys[i][:], nil)
						done(i, nil, errors.New("told already"))
					}
					c.rest(ctx)
				}}
				calls, release := callsOf(t, s)
				began, gets := time.Now(), calls.startGets(t, 4)
				release()
				for i, call := range gets {
					got, err := call.wait(t.Context())
					switch {
					case i < 2 && (err != nil || got.record[0] != byte(i)):
						t.Errorf("get %d, which the store has told of: %x, %v", i, got.record, err)
					case i >= 2 && !errors.Is(err, c.want):
						t.Errorf("get %d: error %v, want %v", i, err, c.want)
					}
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("the gets took %v", took)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if calls.running != 0 {
					t.Errorf("%d calls run on", calls.running)
				}
			})
		})
	}
}
