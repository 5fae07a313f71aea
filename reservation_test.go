package reprise_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// reserve offers a session to a connection that will take it late.
func (n *node) reserve(s *reprise.Session) (*reprise.Connection, *reprise.Session, reprise.Reason) {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), anyInfo)
	if err != nil {
		n.t.Fatal(err)
	}
	found, reason := conn.Lookup(s.ID().Bytes(), anyOffer)
	if reason == reprise.Resumed {
		reason = conn.Reserve(found)
	}
	return conn, found, reason
}

func expectReason(t *testing.T, what string, got, want reprise.Reason) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestReserve: who has proved nothing removes nothing, and of all who offer a session for single use one takes it.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		s := n.full(true)
		n.flush()

		observer, _, reason := n.reserve(s)
		expectReason(t, "the first", reason, reprise.Resumed)
		second, _, reason := n.reserve(s)
		expectReason(t, "meanwhile", reason, reprise.Used)
		expectReason(t, "meanwhile, the connection", second.Reason(), reprise.Used)
		second.Release() // of what it has not got
		_, _, reason = n.reserve(s)
		expectReason(t, "still", reason, reprise.Used)
		observer.Release()

		client, found, reason := n.reserve(s)
		expectReason(t, "after the first has gone", reason, reprise.Resumed)
		time.Sleep(time.Minute) // on the way to the client and back
		expectReason(t, "take", client.Take(found), reprise.Resumed)
		client.Resumed(found)
		client.Complete(true)
		if _, _, reason = n.reserve(s); reason == reprise.Resumed {
			t.Error("the session was taken and resumes again")
		}
	})
}

// TestReserveOfRepeatedUse does nothing.
func TestReserveOfRepeatedUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &faultyStore{}, fleetKeys(t, 1), oneWriter)
		s := n.full(false)
		for range 2 {
			_, _, reason := n.reserve(s)
			expectReason(t, "reserve", reason, reprise.Resumed)
		}
	})
}

// TestReserveAsksTheStore: what the take would find out is found out while a full handshake is still possible.
func TestReserveAsksTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		a, b := newNode(t, store, fleetKeys(t, 1), oneWriter), newNode(t, store, fleetKeys(t, 1), oneWriter)
		s := a.full(true)
		a.flush()

		store.beforeCall(fail, "get")
		_, _, reason := a.reserve(s)
		expectReason(t, "with a store that fails", reason, reprise.StoreError)
		store.beforeCall(nil, "get")

		// Both nodes are about to take it, and know nothing of each other.
		onA, found, reason := a.reserve(s)
		expectReason(t, "on one node", reason, reprise.Resumed)
		onB, foundOnB, reason := b.reserve(s)
		expectReason(t, "on the other node", reason, reprise.Resumed)
		expectReason(t, "take on one node", onA.Take(found), reprise.Resumed)
		expectReason(t, "take on the other node", onB.Take(foundOnB), reprise.Used)

		again := a.full(true)
		a.flush()
		expectReason(t, "on the other node", b.resume(again), reprise.Resumed)
		_, _, reason = a.reserve(again)
		expectReason(t, "where it was made", reason, reprise.Used)
	})
}
