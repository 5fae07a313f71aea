package reprise_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// A partitionedStore is a batchStore with two partitions, of which one hangs while hangs is set.
type partitionedStore struct {
	batchStore
	where func(key reprise.StoreKey) string // if not nil, says in which
	hangs atomic.Bool
	deaf  chan struct{} // if not nil, it hangs until that is closed, whatever its context says
	hung  atomic.Int64  // calls of the partition that hangs
}

const hangingPartition = "b"

func (s *partitionedStore) Partition(key reprise.StoreKey) string {
	switch {
	case s.where != nil:
		return s.where(key)
	case key[0]%2 == 1:
		return hangingPartition
	}
	return "a"
}

// wait hangs until the call is given up, if the key is in the partition that does.
func (s *partitionedStore) wait(ctx context.Context, key reprise.StoreKey) error {
	if !s.hangs.Load() || s.Partition(key) != hangingPartition {
		return nil
	}
	s.hung.Add(1)
	if s.deaf != nil {
		<-s.deaf
		return errFault
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *partitionedStore) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	if err := s.wait(ctx, key); err != nil {
		return err
	}
	return s.batchStore.Put(ctx, key, record, lifetime)
}

func (s *partitionedStore) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	if err := s.wait(ctx, key); err != nil {
		return nil, false, err
	}
	return s.batchStore.Get(ctx, key)
}

func (s *partitionedStore) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	if err := s.wait(ctx, key); err != nil {
		return nil, false, err
	}
	return s.batchStore.Take(ctx, key)
}

func (s *partitionedStore) Delete(ctx context.Context, key reprise.StoreKey) error {
	if err := s.wait(ctx, key); err != nil {
		return err
	}
	return s.batchStore.Delete(ctx, key)
}

func (s *partitionedStore) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(i int, err error)) {
	for i, p := range puts {
		if err := s.wait(ctx, p.Key); err != nil {
			done(i, err)
			return
		}
	}
	s.batchStore.PutBatch(ctx, puts, done)
}

// partitionOf returns the partition of a session.
func (s *partitionedStore) partitionOf(n *node, session *reprise.Session) string {
	return s.Partition(n.Keys().StoreKeys(session.ID())[0])
}

// makeIn makes sessions that lie in a partition.
func (s *partitionedStore) makeIn(n *node, partition string, count int, change ...func(*reprise.SessionParams)) (sessions []*reprise.Session) {
	for len(sessions) < count {
		if session := n.make(change...); s.partitionOf(n, session) == partition {
			sessions = append(sessions, session)
		}
	}
	return sessions
}

// hang makes a partition hang, and returns a session that is stored in it and one that is stored in the other.
func (s *partitionedStore) hang(n *node) (hung, well *reprise.Session) {
	n.t.Helper()
	hung, well = s.makeIn(n, hangingPartition, 1)[0], s.makeIn(n, "a", 1)[0]
	n.announce(hung)
	n.announce(well)
	n.flush()
	s.hangs.Store(true)
	return hung, well
}

// TestPartitionThatHangs: what lies in the other one is put, found, taken and deleted as if nothing were.
func TestPartitionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		hung := store.makeIn(n, hangingPartition, 5)
		for _, s := range hung {
			n.announce(s)
		}
		n.flush()
		store.hangs.Store(true)
		for _, s := range hung[1:] {
			n.remove(s, reprise.RemovedExplicitly)
		}
		for range 100 {
			n.announceEach(1)
			for _, s := range store.makeIn(n, "a", 2, singleUse) {
				n.announce(s)
				time.Sleep(15 * time.Millisecond)
				other.has(s)
				other.takes(s, true)
			}
			for _, s := range store.makeIn(n, "a", 1) {
				n.announce(s)
				time.Sleep(15 * time.Millisecond)
				n.remove(s, reprise.RemovedExplicitly)
				time.Sleep(time.Millisecond)
				other.hasNot(s)
			}
		}
		if got := n.stats(); got.Timeouts == 0 || got.Queued == 0 {
			t.Errorf("stats %+v", got)
		}
		store.hangs.Store(false)
		time.Sleep(3 * time.Second)
		n.flush()
		n.has(hung[0])
		for _, s := range hung[1:] {
			n.hasNot(s)
		}
	})
}

// TestBreakerOfEachPartition: five lookups find out that a partition hangs; then none waits, and none of the other one is refused.
func TestBreakerOfEachPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{}
		var log strings.Builder
		n := newLoggingNode(t, store, reprise.RandomFleetKeys(), reprise.StoreOptions{}, slog.New(slog.NewTextHandler(&log, nil)))
		hung, well := store.hang(n)
		for range 5 {
			if _, err := n.get(hung.ID()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("get: %v", err)
			}
			synctest.Wait()
			n.has(well)
		}
		began := time.Now()
		for range 100 {
			if _, err := n.get(hung.ID()); !errors.Is(err, reprise.ErrStoreUnavailable) {
				t.Errorf("get: %v", err)
			}
			n.has(well)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		if got := n.stats(); got.Breaker != reprise.BreakerOpen || got.BreakerOpened != 1 {
			t.Errorf("breaker %v, opened %d times", got.Breaker, got.BreakerOpened)
		}
		before := store.hung.Load()
		time.Sleep(10 * time.Second)
		if got := store.hung.Load() - before; got < 18 || got > 22 {
			t.Errorf("%d probes of the partition in 10 seconds", got)
		}
		store.hangs.Store(false)
		time.Sleep(time.Second)
		n.has(hung)
		if got := n.stats(); got.Breaker != reprise.BreakerClosed {
			t.Errorf("breaker %v", got.Breaker)
		}
		synctest.Wait()
		for _, want := range []string{"store does not answer", `error="context deadline exceeded"`, "store answers again"} {
			if !strings.Contains(log.String(), want) || strings.Count(log.String(), "partition=b") != 2 {
				t.Errorf("no %q in the log: %s", want, log.String())
			}
		}
	})
}

// TestPartitionThatHangsLeavesRoom: what waits for it fills no more than half of the queue.
func TestPartitionThatHangsLeavesRoom(t *testing.T) {
	for name, change := range map[string]struct {
		options reprise.StoreOptions
		length  int // of application data
		most    int
	}{
		"in number": {reprise.StoreOptions{QueueLength: 100}, 0, 50},
		"in bytes":  {reprise.StoreOptions{QueueBytes: 1 << 20}, 20_000, 26},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &partitionedStore{}
				long := func(p *reprise.SessionParams) { p.ApplicationData = [][]byte{make([]byte, change.length)} }
				change.options.WriteTimeout = time.Hour
				n := newNode(t, store, nil, change.options)
				n.announce(store.makeIn(n, "a", 1)[0])
				n.announce(store.makeIn(n, hangingPartition, 1)[0])
				n.flush()
				store.hangs.Store(true)
				for _, s := range store.makeIn(n, hangingPartition, 300, long) {
					n.announce(s)
				}
				if got := n.stats(); got.Queued != change.most || got.PutsDropped != uint64(300-change.most) {
					t.Errorf("%d queued, %d dropped; want %d", got.Queued, got.PutsDropped, change.most)
				}
				for range 10 {
					for _, s := range store.makeIn(n, "a", 5, long) {
						n.announce(s)
						time.Sleep(time.Millisecond)
					}
					time.Sleep(15 * time.Millisecond)
					if seen := store.seen(); seen[len(seen)-1] != "batch of 5" {
						t.Errorf("puts of another partition were no batch, but %q", seen[len(seen)-1])
					}
				}
				if got := n.stats(); got.Queued != change.most || got.PutsDropped != uint64(300-change.most) {
					t.Errorf("%d queued, %d dropped after puts of another partition; want %d", got.Queued, got.PutsDropped, change.most)
				}
			})
		})
	}
}

// TestPutsOfABatchHaveOutcomesOfTheirOwn: one that is refused harms no other, and one that hangs holds up no other.
func TestPutsOfABatchHaveOutcomesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		store.beforePut = func(ctx context.Context, i int) error {
			switch i {
			case 1:
				return errFault
			case 2:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, reprise.StoreOptions{}), newNode(t, store, keys, reprise.StoreOptions{})
		sessions := n.announceEach(4)
		time.Sleep(11 * time.Millisecond)
		if got := n.stats(); got.PutsFailed != 1 || got.Errors != 1 || got.Queued != 1 {
			t.Errorf("while one hangs: %d failed, %d errors, %d queued", got.PutsFailed, got.Errors, got.Queued)
		}
		n.takes(sessions[0], true)
		n.takes(sessions[3], true)
		other.hasNot(sessions[1])
		time.Sleep(reprise.DefaultWriteTimeout)
		if got := n.stats(); got.PutsFailed != 2 || got.Errors != 1 || got.Timeouts != 1 || got.Queued != 0 {
			t.Errorf("at the end: %d failed, %d errors, %d timeouts, %d queued", got.PutsFailed, got.Errors, got.Timeouts, got.Queued)
		}
		n.announceEach(3) // in one batch again, since not all have failed
		time.Sleep(11 * time.Millisecond)
		if seen := store.seen(); seen[len(seen)-1] != "batch of 3" {
			t.Errorf("after a batch of which some were put: %q", seen)
		}
	})
}

// TestPutThatIsToldTooLate: its key may have another write under way by then.
func TestPutThatIsToldTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		late := make(chan struct{})
		store.beforePut = func(context.Context, int) error { <-late; return errFault }
		n := newNode(t, store, nil, oneWriter)
		sessions := n.announceEach(2)
		time.Sleep(11*time.Millisecond + reprise.DefaultWriteTimeout)
		f, release := hang()
		store.beforeCall(f, "delete")
		n.remove(sessions[0], reprise.RemovedExplicitly)
		time.Sleep(time.Second)
		before := n.stats()
		close(late)
		synctest.Wait()
		if got := n.stats(); got.PutsFailed != 2 || got != before {
			t.Errorf("stats %+v, before %+v", got, before)
		}
		n.hasNot(sessions[0])
		release()
		n.flush()
		n.hasNot(sessions[0])
	})
}

// TestStoreThatTellsNothing of a put has failed it.
func TestStoreThatTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &silentStore{}, nil, reprise.StoreOptions{})
		n.announceEach(3)
		time.Sleep(11 * time.Millisecond)
		if got := n.stats(); got.PutsFailed != 2 || got.Queued != 0 {
			t.Errorf("%d puts failed, %d queued", got.PutsFailed, got.Queued)
		}
	})
}

// A silentStore tells of the first put alone.
type silentStore struct{ batchStore }

func (*silentStore) PutBatch(_ context.Context, _ []reprise.StorePut, done func(int, error)) {
	done(0, nil)
}

// TestManyPartitions: a store that names ever new ones is told to have no more than a thousand.
func TestManyPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &endlessStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		sessions := n.announceEach(3000)
		time.Sleep(time.Second)
		for _, s := range sessions {
			n.has(s)
		}
		if got := n.stats(); got.Queued != 0 || got.PutsFailed+got.PutsDropped != 0 {
			t.Errorf("stats %+v", got)
		}
		if seen := store.seen(); !slices.ContainsFunc(seen, func(call string) bool { return strings.HasPrefix(call, "batch") }) {
			t.Error("those that are too many are no partition together")
		}
	})
}

// An endlessStore has a partition for each call.
type endlessStore struct {
	batchStore
	partitions atomic.Int64
}

func (s *endlessStore) Partition(reprise.StoreKey) string { return fmt.Sprint(s.partitions.Add(1)) }

// TestDeletesOfAPartitionThatHangs leave room for puts, and for deletes of others.
func TestDeletesOfAPartitionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{QueueLength: 100})
		well := store.makeIn(n, "a", 10)
		for _, s := range append(well, store.makeIn(n, hangingPartition, 1)...) {
			n.announce(s)
		}
		n.flush()
		store.hangs.Store(true)
		for range 300 {
			for _, s := range store.makeIn(n, hangingPartition, 1) {
				n.remove(s, reprise.RemovedUnclean)
			}
		}
		if got := n.stats(); got.Queued != 50 || got.DeletesLost != 250 {
			t.Errorf("%d deletes queued, %d lost", got.Queued, got.DeletesLost)
		}
		for _, s := range store.makeIn(n, "a", 10) {
			n.announce(s)
		}
		for _, s := range well {
			n.remove(s, reprise.RemovedUnclean)
		}
		time.Sleep(11 * time.Millisecond)
		if got := n.stats(); got.PutsDropped != 0 || got.DeletesLost != 250 || got.Queued != 50 {
			t.Errorf("%d puts dropped, %d deletes lost, %d queued", got.PutsDropped, got.DeletesLost, got.Queued)
		}
	})
}

// TestSmallQueueOfPartitions: puts that fill it do not wait for others to make a batch.
func TestSmallQueueOfPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{QueueLength: 100})
		n.announceEach(30)
		n.flush()
		for _, s := range store.makeIn(n, "a", 300) {
			n.announce(s)
			time.Sleep(100 * time.Microsecond)
		}
		n.flush()
		if got := n.stats(); got.PutsDropped != 0 {
			t.Errorf("%d puts were dropped", got.PutsDropped)
		}
	})
}

// TestOnePartitionHasTheWholeQueue: there is nobody to leave room for.
func TestOnePartitionHasTheWholeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{where: func(reprise.StoreKey) string { return hangingPartition }}
		store.hangs.Store(true)
		n := newNode(t, store, nil, reprise.StoreOptions{QueueLength: 100})
		n.announceEach(100)
		if got := n.stats(); got.Queued != 100 || got.PutsDropped != 0 {
			t.Errorf("%d queued, %d dropped", got.Queued, got.PutsDropped)
		}
	})
}

// TestPartitionsAreForgotten: addresses of servers change for years, and two of them are told apart still.
func TestPartitionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var address atomic.Int64 // of all keys, while it is not negative
		store := &partitionedStore{}
		store.where = func(key reprise.StoreKey) string {
			if now := address.Load(); now >= 0 {
				return fmt.Sprint(now)
			}
			return string('a' + key[0]%2)
		}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		sessions := n.announceEach(2)
		n.flush()
		for address.Add(1) < 3000 {
			n.has(sessions[0])
			if address.Load() == 10 {
				store.beforeCall(fail, "get")
				n.failsFiveGets(sessions[1])
				store.beforeCall(nil, "get")
				time.Sleep(time.Second)
			}
		}
		address.Store(-1)
		hung, well := store.hang(n)
		for range 10 {
			if _, err := n.get(hung.ID()); err == nil {
				t.Error("a get of a partition that hangs has succeeded")
			}
			synctest.Wait()
			n.has(well)
		}
		if got := n.stats().BreakerOpened; got != 2 {
			t.Errorf("breakers have opened %d times", got)
		}
	})
}

// TestKeyMovesFromAPartitionThatHangs: what is to be written goes where it is now.
func TestKeyMovesFromAPartitionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{}
		var moved atomic.Bool
		store.where = func(key reprise.StoreKey) string {
			switch key[0] % 4 {
			case 0:
				return "a"
			case 1:
				if moved.Load() {
					return "a"
				}
			}
			return hangingPartition
		}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, reprise.StoreOptions{}), newNode(t, store, keys, reprise.StoreOptions{})
		var gone *reprise.Session
		for gone == nil || n.Keys().StoreKeys(gone.ID())[0][0]%4 != 1 {
			gone = n.make()
		}
		n.announce(gone)
		n.flush()
		store.hangs.Store(true)
		n.remove(gone, reprise.RemovedRevoked)
		time.Sleep(20 * time.Second)
		other.hasNotYet(gone)
		moved.Store(true)
		other.has(gone)
		time.Sleep(2 * time.Second)
		other.hasNot(gone)
	})
}

// hasNotYet fails if a get finds the session.
func (n *node) hasNotYet(s *reprise.Session) {
	n.t.Helper()
	if got, _ := n.get(s.ID()); got != nil {
		n.t.Error("a session was found in a partition that hangs")
	}
	synctest.Wait() // the call ends at the same moment
}

// TestPartitionThatPanics harms nothing, not even where the log asks how the binding is.
func TestPartitionThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{where: func(reprise.StoreKey) string { panic("no partition") }}
		var curious statsHandler
		n := newLoggingNode(t, store, reprise.RandomFleetKeys(), reprise.StoreOptions{}, slog.New(&curious))
		curious.node.Store(n)
		s := n.stored(singleUse)
		n.has(s)
		store.beforeCall(fail, "get")
		n.failsFiveGets(s)
		store.beforeCall(nil, "get")
		time.Sleep(time.Second) // for a probe
		n.takes(s, true)
	})
}

// A lifelessStore panics when it is asked for its life.
type lifelessStore struct{ faultyStore }

func (*lifelessStore) Incarnation(reprise.StoreKey) uint64 { panic("no life") }

func (s *lifelessStore) TakeIncarnated(ctx context.Context, key reprise.StoreKey) (record []byte, incarnation uint64, ok bool, err error) {
	record, ok, err = s.Take(ctx, key)
	return record, 0, ok, err
}

// TestIncarnationThatPanics harms nothing.
func TestIncarnationThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &lifelessStore{}, nil, reprise.StoreOptions{})
		n.has(n.stored())
	})
}

// A statsHandler is a log that reads the counters of a node.
type statsHandler struct{ node atomic.Pointer[node] }

func (h *statsHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *statsHandler) Handle(context.Context, slog.Record) error {
	if n := h.node.Load(); n != nil {
		n.stats()
	}
	return nil
}

func (h *statsHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *statsHandler) WithGroup(string) slog.Handler { return h }

// TestDeafPartition does not use up the calls of others in the course of time.
func TestDeafPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{deaf: make(chan struct{})}
		defer close(store.deaf)
		n := newNode(t, store, nil, reprise.StoreOptions{})
		hung, well := store.hang(n)
		for range 5 {
			_, _ = n.get(hung.ID())
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		n.has(well)
		if got := store.hung.Load(); got > 6 {
			t.Errorf("the partition was asked %d times while no call of it returned", got)
		}
	})
}

// TestManyCallsOfADeafPartition leave some for others.
func TestManyCallsOfADeafPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &partitionedStore{deaf: make(chan struct{})}
		defer close(store.deaf)
		n := newNode(t, store, nil, reprise.StoreOptions{})
		well := store.makeIn(n, "a", 1)[0]
		n.announce(well)
		n.flush()
		for range 3000 { // which are under way no more
			n.has(well)
		}
		store.hangs.Store(true)
		for _, s := range store.makeIn(n, hangingPartition, 5000) {
			go func() { _, _ = n.get(s.ID()) }()
		}
		synctest.Wait()
		n.has(well)
		if got := store.hung.Load(); got < 2000 || got > 2100 {
			t.Errorf("%d calls of the partition are under way", got)
		}
	})
}
