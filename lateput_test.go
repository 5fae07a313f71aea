package reprise_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
)

// A latePut is a node that has given up a put without an answer, and then deleted the session.
type latePut struct {
	*node
	store   *faultyStore
	session *reprise.Session
	release func()
}

func newLatePut(t *testing.T) *latePut {
	t.Helper()
	store := &faultyStore{}
	l := &latePut{node: newNode(t, store, nil, reprise.StoreOptions{}), store: store}
	var put fault
	put, l.release = hang()
	store.beforeCall(put, "put")
	l.session = l.make()
	l.announce(l.session)
	time.Sleep(reprise.DefaultWriteTimeout + time.Second)
	if got := l.stats().PutsFailed; got != 1 {
		t.Errorf("%d puts failed", got)
	}
	l.remove(l.session, reprise.RemovedExplicitly)
	l.flush()
	store.wrote(t, "delete")
	return l
}

// arrives has the put carried out.
func (l *latePut) arrives() {
	l.store.beforeCall(nil, "put")
	l.release()
	synctest.Wait()
}

// wrote fails unless the store has carried out these puts and deletes, in this order.
func (s *faultyStore) wrote(t *testing.T, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(s.seen(), func(method string) bool { return method == "get" })
	if !slices.Equal(got, want) {
		t.Errorf("the store has carried out %q, want %q", got, want)
	}
}

// TestLatePut: a put that arrives after the delete of its key brings nothing back.
func TestLatePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatePut(t)
		l.arrives()
		l.has(l.session)
		time.Sleep(6 * time.Second)
		l.hasNot(l.session)
		time.Sleep(time.Minute)
		l.store.wrote(t, "delete", "put", "delete")
	})
}

// TestLatePutBeforeAnother: what is put after the delete stays.
func TestLatePutBeforeAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatePut(t)
		l.arrives()
		l.announce(l.session)
		time.Sleep(time.Minute)
		l.has(l.session)
	})
}

// TestDeleteIsMadeOnce: not again where no put has failed, nor after the binding was closed, nor where that was long ago.
func TestDeleteIsMadeOnce(t *testing.T) {
	t.Run("put in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, reprise.StoreOptions{})
			n.remove(n.stored(), reprise.RemovedExplicitly)
			time.Sleep(time.Minute)
			store.wrote(t, "put", "delete")
		})
	})
	t.Run("closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLatePut(t)
			l.arrives()
			if err := l.StoreBinding.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			l.store.wrote(t, "delete", "put")
			if got := l.stats().DeletesLost; got != 0 {
				t.Errorf("%d deletes lost", got)
			}
		})
	})
	t.Run("long ago", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{}
			n := newNode(t, store, nil, reprise.StoreOptions{})
			store.beforeCall(fail, "put")
			s := n.make()
			n.announce(s)
			time.Sleep(2 * time.Minute)
			n.remove(s, reprise.RemovedExplicitly)
			time.Sleep(time.Minute)
			store.wrote(t, "delete")
		})
	})
}
