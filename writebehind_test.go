package reprise_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// oneWriter makes the order of writes certain.
var oneWriter = reprise.StoreOptions{Writers: 1}

func TestPutIsWrittenWithinMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		n.announce(n.make())
		time.Sleep(time.Millisecond)
		store.saw(t, "put")
	})
}

func TestAnnouncementDoesNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		f, release := hang()
		defer release()
		store.beforeCall(f, allMethods...)
		began := time.Now()
		for range 100 {
			s := n.make()
			n.announce(s)
			n.remove(s, reprise.RemovedExplicitly)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestGetServesAQueuedPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		release := n.busy(store)
		s := n.make()
		n.announce(s)
		n.has(s)
		release()
		n.flush()
		store.saw(t, "put", "put", "delete")
	})
}

func TestGetServesAPutUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		f, release := hold()
		store.beforeCall(f, "put")
		s := n.make()
		n.announce(s)
		synctest.Wait()
		n.has(s)
		release()
		n.flush()
		store.saw(t, "put")
	})
}

func TestTakeCancelsAQueuedPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		release := n.busy(store)
		s := n.make(singleUse)
		n.announce(s)
		n.takes(s, true)
		n.takes(s, false)
		n.hasNot(s)
		release()
		n.flush()
		store.saw(t, "put", "delete", "delete") // the first two are of busy
		other.takes(s, false)
		if got := n.stats().PutsCancelled; got != 1 {
			t.Errorf("%d puts cancelled", got)
		}
	})
}

func TestTakeWaitsForAPutUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(slow(30*time.Millisecond), "put")
		s := n.make(singleUse)
		n.announce(s)
		synctest.Wait()
		began := time.Now()
		n.takes(s, true)
		if waited := time.Since(began); waited != 30*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		store.saw(t, "put", "take")
	})
}

func TestTakeWaitsForAPutUnderWayNoLongerThanItsHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(slow(time.Second), "put")
		s := n.make(singleUse)
		n.announce(s)
		synctest.Wait()
		began := time.Now()
		if taken, err := n.take(s); taken || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take: %v, %v", taken, err)
		}
		if waited := time.Since(began); waited != reprise.DefaultLookupTimeout {
			t.Errorf("waited %v", waited)
		}
		n.flush()
		n.takes(s, true)
		store.saw(t, "put", "take")
	})
}

// TestTakeAfterAPutOfUnknownOutcome: only the store can tell whether the record has arrived.
func TestTakeAfterAPutOfUnknownOutcome(t *testing.T) {
	for _, arrived := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, reprise.StoreOptions{})
			if arrived {
				store.afterCall(fail, "put")
			} else {
				store.beforeCall(fail, "put")
			}
			s := n.stored(singleUse)
			n.takes(s, arrived)
			n.takes(s, false)
			if got := n.stats(); got.PutsFailed != 1 || got.Puts != 1 {
				t.Errorf("%d puts, %d failed; want one, not tried again", got.Puts, got.PutsFailed)
			}
		})
	}
}

func TestTakeDuringAPutThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(func(ctx context.Context) error { return errors.Join(slow(20*time.Millisecond)(ctx), errFault) }, "put")
		s := n.make(singleUse)
		n.announce(s)
		synctest.Wait()
		n.takes(s, false)
		store.saw(t, "take")
	})
}

func TestDeleteCancelsAQueuedPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		release := n.busy(store)
		s := n.make()
		n.announce(s)
		n.remove(s, reprise.RemovedFatalAlert)
		n.hasNot(s)
		release()
		n.flush()
		n.hasNot(s)
		store.saw(t, "put", "delete", "delete", "get")
	})
}

func TestDeleteWaitsForAPutUnderWay(t *testing.T) {
	for name, outcome := range map[string]error{"arrives": nil, "arrives and fails": errFault} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				n := newNode(t, store, nil, reprise.StoreOptions{})
				f, release := hold()
				store.beforeCall(f, "put")
				store.afterCall(func(context.Context) error { return outcome }, "put")
				s := n.make()
				n.announce(s)
				synctest.Wait()
				n.remove(s, reprise.RemovedExplicitly)
				synctest.Wait()
				store.saw(t)
				n.hasNot(s)
				release()
				n.flush()
				n.hasNot(s)
				store.saw(t, "put", "delete", "get")
			})
		})
	}
}

// TestDeleteIsTriedUntilItSucceeds, and the session is gone here at once.
func TestDeleteIsTriedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s, single := n.stored(), n.stored(singleUse)
		store.beforeCall(fail, "delete")
		n.remove(s, reprise.RemovedRevoked)
		n.remove(single, reprise.RemovedRevoked)
		time.Sleep(10 * time.Second)
		n.hasNot(s)
		n.takes(single, false)
		tries := n.stats().Deletes
		if tries < 10 || tries > 20 {
			t.Errorf("%d tries in 10 seconds", tries)
		}
		store.beforeCall(nil, "delete")
		time.Sleep(time.Second)
		n.flush()
		n.hasNot(s)
		store.saw(t, "put", "put", "delete", "delete", "get")
	})
}

// TestPutAfterDelete: IDs of clients' sessions are used again and again.
func TestPutAfterDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		first := n.stored()
		release := n.busy(store)
		second := again(t, first, n.make())
		n.remove(first, reprise.RemovedExplicitly)
		n.announce(second)
		n.has(second)
		release()
		n.flush()
		n.has(second)
		store.saw(t, "put", "put", "put", "delete", "get") // the delete is of busy
	})
}

// TestFailedPutAfterDelete: the delete that the put took the place of is still due.
func TestFailedPutAfterDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		first := n.stored()
		release := n.busy(store)
		store.beforeCall(fail, "put")
		n.remove(first, reprise.RemovedExplicitly)
		n.announce(again(t, first, n.make()))
		release()
		n.flush()
		n.hasNot(first)
		store.saw(t, "put", "put", "delete", "delete", "get")
	})
}

// again returns a session with the ID of one and the secret of another.
func again(t *testing.T, one, another *reprise.Session) *reprise.Session {
	t.Helper()
	p := paramsOf(another)
	p.ID = one.ID()
	return newSession(t, p)
}

func TestTakeTakesNoOtherSessionOfTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &faultyStore{}, nil, oneWriter)
		first := n.stored(singleUse)
		n.announce(again(t, first, n.make(singleUse)))
		n.flush()
		n.takes(first, false)
	})
}

func TestRemovalDuringALookupVoidsIt(t *testing.T) {
	for name, remove := range map[string]func(n *node, store *faultyStore, s *reprise.Session){
		"removed": func(n *node, _ *faultyStore, s *reprise.Session) { n.remove(s, reprise.RemovedUnclean) },
		"taken":   func(n *node, _ *faultyStore, s *reprise.Session) { n.takes(s, true) },
		"deleted by its key": func(n *node, store *faultyStore, _ *reprise.Session) {
			err := store.Each(context.Background(), func(key reprise.StoreKey, _ []byte, _ time.Time) bool {
				return n.Delete(key) == nil
			})
			if err != nil {
				panic(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				n := newNode(t, store, nil, reprise.StoreOptions{})
				s := n.stored(singleUse)
				store.afterCall(slow(20*time.Millisecond), "get")
				found := make(chan *reprise.Session)
				go func() {
					got, err := n.get(s.ID())
					if err != nil {
						t.Error(err)
					}
					found <- got
				}()
				synctest.Wait() // the store has found the record, and has not answered yet
				store.saw(t, "put", "get")
				remove(n, store, s)
				if got := <-found; got != nil {
					t.Error("the lookup found a session that was removed meanwhile")
				}
			})
		})
	}
}

func TestLookupBegunDuringATakeIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored(singleUse)
		store.beforeCall(slow(10*time.Millisecond), "take")
		store.afterCall(slow(20*time.Millisecond), "get")
		go n.takes(s, true)
		synctest.Wait()
		n.hasNot(s)
		store.saw(t, "put", "get", "take")
	})
}

func TestConcurrentGetsAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		store.beforeCall(slow(20*time.Millisecond), "get")

		// The first waiter goes away; that must harm none of the others.
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if got, err := n.GetCallback()(ctx, s.ID()); got != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("get of a client that went away: %v, %v", got, err)
			}
		}()
		synctest.Wait()
		for range 10 {
			go n.has(s)
		}
		synctest.Wait()
		cancel()
		time.Sleep(time.Second)
		store.saw(t, "put", "get")
		if got := n.stats(); got.GetsShared != 10 || got.Gets != 1 || got.Errors+got.Timeouts != 0 {
			t.Errorf("stats %+v", got)
		}
		n.has(s)
		store.saw(t, "put", "get", "get")
	})
}

func TestOfConcurrentTakesOneWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		keys := reprise.RandomFleetKeys()
		a, b := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		s := a.stored(singleUse)
		store.beforeCall(slow(10*time.Millisecond), "take")
		won := make(chan bool, 10)
		for i := range cap(won) {
			go func() {
				taken, err := []*node{a, b}[i%2].take(s)
				if err != nil {
					t.Error(err)
				}
				won <- taken
			}()
		}
		winners := 0
		for range cap(won) {
			if <-won {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%d winners", winners)
		}
		if calls := a.stats().Takes + b.stats().Takes; calls != 10 {
			t.Errorf("%d calls of the store, takes must not be shared", calls)
		}
	})
}

// TestTakeGoesOnWithoutItsClient: a client that goes away neither fails the store nor makes it one failure closer to the breaker.
func TestTakeGoesOnWithoutItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(slow(40*time.Millisecond), "get", "take")
		for range 10 {
			s := n.stored(singleUse)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := n.TakeCallback()(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("take: %v", err)
			}
			if _, err := n.GetCallback()(ctx, s.ID()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("get: %v", err)
			}
			cancel()
			time.Sleep(100 * time.Millisecond)
			n.takes(s, false)
		}
		if got := n.stats(); got.Errors+got.Timeouts != 0 || got.BreakerOpened != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestLifetimeIsWhatIsLeftOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{Writers: 1, WriteTimeout: time.Hour})
		release := n.busy(store)
		time.Sleep(time.Millisecond / 2) // times of sessions have a resolution of a millisecond
		s := n.make(func(p *reprise.SessionParams) { p.Timeout = time.Hour })
		late := n.make(func(p *reprise.SessionParams) { p.Timeout = time.Second })
		n.announce(s)
		n.announce(late)
		time.Sleep(time.Minute)
		release()
		n.flush()
		if got := store.lifetime(1); got > 59*time.Minute || got < 59*time.Minute-time.Millisecond {
			t.Errorf("lifetime %v after a minute in the queue, want 59 minutes", got)
		}
		store.saw(t, "put", "put", "delete") // the delete is of busy: what expired in the queue is as good as deleted
		n.announce(late)
		n.flush()
		store.saw(t, "put", "put", "delete")
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{Writers: 1, QueueLength: 10})
		old := make([]*reprise.Session, 30)
		for i := range old {
			old[i] = n.stored()
		}
		release := n.busy(store)
		for range 20 {
			n.announce(n.make())
		}
		if got := n.stats(); got.Queued != 11 || got.PutsDropped != 11 {
			t.Errorf("%d queued, %d dropped; want 11 and 11", got.Queued, got.PutsDropped)
		}
		// Deletes have room of their own.
		for _, s := range old {
			n.remove(s, reprise.RemovedExplicitly)
		}
		if got := n.stats(); got.Queued != 20 || got.DeletesLost != 21 {
			t.Errorf("%d queued, %d deletes lost; want 20 and 21", got.Queued, got.DeletesLost)
		}
		release()
		n.flush()
		n.hasNot(old[0])
		n.has(old[29])
		if got := n.stats(); got.Queued != 0 || got.QueuedBytes != 0 {
			t.Errorf("%d queued, %d bytes", got.Queued, got.QueuedBytes)
		}
	})
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{Writers: 1, QueueBytes: 100_000})
		release := n.busy(store)
		long := func(p *reprise.SessionParams) { p.ApplicationData = [][]byte{make([]byte, 30_000)} }
		sessions := []*reprise.Session{n.make(long), n.make(long), n.make(long), n.make(long)}
		for _, s := range sessions {
			n.announce(s)
		}
		if got := n.stats(); got.PutsDropped != 1 || got.QueuedBytes > 100_000 || got.QueuedBytes < 90_000 {
			t.Errorf("%d dropped, %d bytes queued", got.PutsDropped, got.QueuedBytes)
		}
		n.remove(sessions[0], reprise.RemovedExplicitly) // makes room
		n.announce(sessions[3])
		if got := n.stats(); got.PutsDropped != 1 || got.PutsCancelled != 1 {
			t.Errorf("%d dropped, %d cancelled", got.PutsDropped, got.PutsCancelled)
		}
		release()
		n.flush()
		n.has(sessions[3])
		if got := n.stats().QueuedBytes; got != 0 {
			t.Errorf("%d bytes in an empty queue", got)
		}
	})
}

// TestWriteOutageCostsFewPuts: reads work, so the breaker is closed, and nothing can be written, as with a full disk.
func TestWriteOutageCostsFewPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		s := n.stored()
		store.beforeCall(fail, "put", "delete")
		for range 1000 {
			n.announce(n.make())
		}
		time.Sleep(10 * time.Second)
		n.has(s)
		got := n.stats()
		if got.PutsFailed > 30 || got.PutsFailed < 10 || got.BreakerOpened != 0 {
			t.Errorf("%d puts tried in 10 seconds, breaker opened %d times", got.PutsFailed, got.BreakerOpened)
		}
		store.beforeCall(nil, "put", "delete")
		time.Sleep(time.Second)
		if got := n.stats(); got.Queued != 0 || got.Puts != 1001 {
			t.Errorf("a second later %d are queued, %d puts", got.Queued, got.Puts)
		}
	})
}

// TestDeletesDoNotWaitForPutsThatFail: a Redis that is full refuses puts alone, and a session that was revoked must not wait behind them.
func TestDeletesDoNotWaitForPutsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		gone := n.stored()
		store.beforeCall(fail, "put")
		n.announceEach(1000)
		time.Sleep(time.Minute)
		n.remove(gone, reprise.RemovedRevoked)
		synctest.Wait()
		if got := n.stats(); got.Deletes != 1 || got.PutsFailed < 50 {
			t.Errorf("stats %+v", got)
		}
	})
}

// TestWritesAfterAHang: nobody reads, so that writes alone find out when the store works again, and lose few sessions for it.
func TestWritesAfterAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		store.beforeCall(slow(time.Hour), allMethods...)
		for range 200 {
			n.announceEach(1)
			time.Sleep(100 * time.Millisecond)
		}
		if got := n.stats(); got.PutsFailed > 1 {
			t.Errorf("%d puts were tried in vain", got.PutsFailed)
		}
		store.beforeCall(nil, allMethods...)
		s := n.announceEach(1)[0]
		time.Sleep(2 * time.Second)
		other.has(s)
	})
}

// TestWritesBesideSlowGets: that gets take longer than a handshake waits is no reason to write nothing, nor is a put that was lost once.
func TestWritesBesideSlowGets(t *testing.T) {
	for _, lost := range []string{"put", "delete"} {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, reprise.StoreOptions{})
			store.beforeCall(slow(2*reprise.DefaultLookupTimeout), "get")
			store.beforeCall(slow(time.Hour), lost)
			n.announce(n.make())
			n.remove(n.make(), reprise.RemovedExplicitly)
			time.Sleep(3 * time.Second)
			store.beforeCall(nil, lost)
			for range 100 {
				n.announce(n.make())
				n.remove(n.make(), reprise.RemovedExplicitly)
				time.Sleep(20 * time.Millisecond)
			}
			n.flush()
			if got := n.stats(); got.Puts != 101 || got.Deletes < 101 || got.BreakerOpened != 0 {
				t.Errorf("a %s was lost: %+v", lost, got)
			}
		})
	}
}

// TestExpiryIsNoSuccess: that a session has expired in the queue says nothing of a store that is full.
func TestExpiryIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(fail, "put", "batch")
		n.announceEach(1)
		time.Sleep(20 * time.Millisecond)
		for range 5 {
			n.announceEach(10)
			n.announce(n.make(func(p *reprise.SessionParams) { p.Timeout = time.Second }))
		}
		n.announceEach(1000)
		time.Sleep(20 * time.Second)
		if got := n.stats(); got.PutsFailed > 30 {
			t.Errorf("%d puts were tried in 20 seconds", got.PutsFailed)
		}
	})
}

// TestFlushOfAKeyThatIsPutAgainAndAgain waits for the put that there was when it began.
func TestFlushOfAKeyThatIsPutAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		store.beforeCall(slow(5*time.Millisecond), "put")
		first := n.make()
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				n.announce(again(t, first, n.make()))
				time.Sleep(2 * time.Millisecond)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		n.flush()
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		stop()
		time.Sleep(time.Second)
	})
}

// TestFlushEndsAPause: what failed until a moment ago is tried at once, before a binding is closed.
func TestFlushEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, reprise.StoreOptions{})
		store.beforeCall(fail, "delete")
		for range 3 {
			n.remove(n.make(), reprise.RemovedExplicitly)
		}
		time.Sleep(10 * time.Second)
		store.beforeCall(nil, "delete")
		began := time.Now()
		n.flush()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		if got := len(store.seen()); got != 3 {
			t.Errorf("%d deletes", got)
		}
	})
}

// TestTakeOfAPutThatHangs waits for it no longer once the breaker is open.
func TestTakeOfAPutThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		other := n.stored()
		store.beforeCall(slow(time.Hour), allMethods...)
		s := n.make(singleUse)
		n.announce(s)
		for range 5 {
			_, _ = n.get(other.ID())
			synctest.Wait()
		}
		began := time.Now()
		if taken, err := n.take(s); taken || !errors.Is(err, reprise.ErrStoreUnavailable) || time.Since(began) != 0 {
			t.Errorf("take: %v, %v after %v", taken, err, time.Since(began))
		}
	})
}

// TestOrderUnderRandomFaults drives two nodes with one store that is slow and fails at random, before or after it has
// carried a call out. Whatever happens,
//
//   - of all takes of a session one wins at most, on whichever node;
//   - a node that has made a session and removed or taken it never finds it again.
func TestOrderUnderRandomFaults(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			randomFaults(t, rand.New(rand.NewPCG(seed, 1)), store, store)
		})
		synctest.Test(t, func(t *testing.T) {
			store := &batchStore{}
			randomFaults(t, rand.New(rand.NewPCG(seed, 2)), store, &store.faultyStore)
		})
	}
}

// randomFaults drives nodes with a store whose faults are those of faulty.
func randomFaults(t *testing.T, random *rand.Rand, store reprise.Store, faulty *faultyStore) {
	var mu sync.Mutex
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	fault := func(ctx context.Context) error {
		if chance(4) == 0 {
			if err := slow(time.Duration(chance(100)) * time.Millisecond)(ctx); err != nil {
				return err
			}
		}
		if chance(10) == 0 {
			return errFault
		}
		return nil
	}
	faulty.beforeCall(fault, allMethods...)
	faulty.afterCall(fault, allMethods...)
	keys := reprise.RandomFleetKeys()
	nodes := []*node{newNode(t, store, keys, reprise.StoreOptions{Writers: 2}), newNode(t, store, keys, reprise.StoreOptions{})}

	var all sync.WaitGroup
	found, won := 0, 0
	for i := range 100 {
		home := nodes[i%2]
		s := home.make(singleUse)
		var taken, gone atomic.Int64 // gone: here, for good
		all.Go(func() {
			time.Sleep(time.Duration(chance(1000)) * time.Millisecond)
			home.announce(s)
			var one sync.WaitGroup
			for range 8 {
				one.Go(func() {
					time.Sleep(time.Duration(chance(300)) * time.Millisecond)
					n := nodes[chance(2)]
					switch chance(4) {
					case 0:
						home.remove(s, reprise.RemovedExplicitly)
						gone.Store(1)
					case 1:
						if ok, _ := n.take(s); ok {
							taken.Add(1)
							if n == home {
								gone.Store(1)
							}
						}
					default:
						before := gone.Load()
						got, _ := n.get(s.ID())
						if n == home && got != nil && before == 1 {
							t.Error("a session was found that had been removed or taken before")
						}
						if got != nil {
							mu.Lock()
							found++
							mu.Unlock()
						}
					}
				})
			}
			one.Wait()
			if n := taken.Load(); n > 1 {
				t.Errorf("a session was taken %d times", n)
			}
			mu.Lock()
			won += int(taken.Load())
			mu.Unlock()
		})
	}
	all.Wait()
	if found < 10 || won < 10 {
		t.Errorf("only %d sessions were found and %d taken", found, won)
	}
}
