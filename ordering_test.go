package reprise_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// The order of puts, takes and deletes of one session where an answer of the store is late or lost. What a node alone does is in
// writebehind_test.go.

// TestTakeWhoseAnswerIsLost: the session is gone, and nobody has it. The next take finds that out.
func TestTakeWhoseAnswerIsLost(t *testing.T) {
	for name, lose := range map[string]fault{"error": fail, "no answer": slow(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				keys := reprise.RandomFleetKeys()
				n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
				s := n.stored(singleUse)
				store.afterCall(lose, "take")
				if taken, err := n.take(s); taken || err == nil {
					t.Errorf("take: %v, %v; want an error", taken, err)
				}
				store.afterCall(nil, "take")
				n.takes(s, false)
				other.takes(s, false)
				n.hasNot(s)
				other.hasNot(s)
			})
		})
	}
}

// TestTakeThatNeverArrives: the session is there still, and one take gets it.
func TestTakeThatNeverArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		s := n.stored(singleUse)
		store.beforeCall(fail, "take")
		if taken, err := n.take(s); taken || err == nil {
			t.Errorf("take: %v, %v; want an error", taken, err)
		}
		store.beforeCall(nil, "take")
		other.takes(s, true)
		n.takes(s, false)
	})
}

// TestTakeElsewhereOfAPutWithoutAnswer: the record has arrived, and another node takes it before its own hears so. The session is
// used then, here too; the put is not tried again.
func TestTakeElsewhereOfAPutWithoutAnswer(t *testing.T) {
	for name, lose := range map[string]fault{"late": slow(30 * time.Millisecond), "lost": slow(time.Hour), "error": fail} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{}
				keys := reprise.RandomFleetKeys()
				n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
				store.afterCall(lose, "put")
				s := n.make(singleUse)
				n.announce(s)
				synctest.Wait()
				other.takes(s, true)
				if taken, _ := n.take(s); taken {
					t.Error("a session was taken on two nodes")
				}
				time.Sleep(reprise.DefaultWriteTimeout + time.Second)
				n.takes(s, false)
				other.takes(s, false)
				if got := n.stats().Puts; got != 1 {
					t.Errorf("%d puts", got)
				}
			})
		})
	}
}

// TestTakeElsewhereOfAPutNotYetWritten: other nodes have no way to use a session before the store has it.
func TestTakeElsewhereOfAPutNotYetWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		keys := reprise.RandomFleetKeys()
		n, other := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		release := n.busy(store)
		s := n.make(singleUse)
		n.announce(s)
		other.takes(s, false)
		release()
		n.flush()
		other.takes(s, true)
		n.takes(s, false)
	})
}

// TestDeleteWhoseAnswerIsLost is tried again, unless a session was put under the ID meanwhile: that one must stay.
func TestDeleteWhoseAnswerIsLost(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, oneWriter)
			s := n.stored()
			f, release := hang()
			store.afterCall(func(ctx context.Context) error { return errors.Join(f(ctx), errFault) }, "delete")
			n.remove(s, reprise.RemovedExplicitly)
			synctest.Wait()
			if again {
				n.announce(s)
			}
			store.afterCall(nil, "delete")
			release()
			n.flush()
			if again {
				n.has(s)
				store.saw(t, "put", "delete", "put", "get")
			} else {
				n.hasNot(s)
				store.saw(t, "put", "delete", "delete", "get")
			}
		})
	}
}

// TestTakeAfterADeleteWhoseAnswerIsLost does not ask the store: what was deleted here is gone here.
func TestTakeAfterADeleteWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		s := n.stored(singleUse)
		store.beforeCall(fail, "delete")
		n.remove(s, reprise.RemovedRevoked)
		synctest.Wait()
		n.takes(s, false)
		n.hasNot(s)
		store.beforeCall(nil, "delete")
		n.flush()
		store.saw(t, "put", "delete")
	})
}
