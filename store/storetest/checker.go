package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-tls/reprise"
)

const (
	// long is a lifetime that no case sees the end of.
	long = time.Hour
	// short is a lifetime that cases wait for.
	short = 100 * time.Millisecond
	// resolution is how much longer than asked a store may keep a record.
	resolution = time.Second
	// grain is how far clocks that are read one after the other may differ: the store's and that of the test.
	grain = 20 * time.Millisecond
	// patience is how long a call may take before it counts as hanging.
	patience = 30 * time.Second
)

// A checker runs one case. Its methods end the case if the store breaks the contract.
type checker struct {
	tester
	backend
	sentence string
}

// fail ends the case. It must be called from the goroutine of the case.
func (c *checker) fail(format string, args ...any) {
	c.Helper()
	c.Fatal(fmt.Sprintf("%s\n\tcontract: %s", fmt.Sprintf(format, args...), c.sentence))
}

// prompt fails if f takes too long. f runs on a goroutine of its own and must not end the case.
func (c *checker) prompt(what string, f func()) {
	c.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		c.fail("%s did not return within %v", what, patience)
	}
}

func (c *checker) put(s reprise.Store, key reprise.StoreKey, record []byte, lifetime time.Duration) {
	c.Helper()
	if err := s.Put(c.Context(), key, record, lifetime); err != nil {
		c.fail("Put of %d bytes for %v: %v", len(record), lifetime, err)
	}
}

func (c *checker) delete(s reprise.Store, key reprise.StoreKey) {
	c.Helper()
	if err := s.Delete(c.Context(), key); err != nil {
		c.fail("Delete: %v", err)
	}
}

// A lookup is Get or Take of a store.
type lookup func(context.Context, reprise.StoreKey) ([]byte, bool, error)

func (c *checker) want(name string, look lookup, key reprise.StoreKey, want []byte) {
	c.Helper()
	got, ok, err := look(c.Context(), key)
	switch {
	case err != nil:
		c.fail("%s: %v", name, err)
	case !ok:
		c.fail("%s found no record, want one of %d bytes", name, len(want))
	case !bytes.Equal(got, want):
		c.fail("%s returned another record of %d bytes than the one of %d bytes that was put", name, len(got), len(want))
	}
}

func (c *checker) wantAbsent(name string, look lookup, key reprise.StoreKey) {
	c.Helper()
	_, ok, err := look(c.Context(), key)
	if err != nil {
		c.fail("%s of an absent record: %v", name, err)
	}
	if ok {
		c.fail("%s found a record where none may be", name)
	}
}

// A stored record is one that was put for lifetime, at some moment between begun and done.
type stored struct {
	key         reprise.StoreKey
	lifetime    time.Duration
	begun, done time.Time
}

func (c *checker) store(s reprise.Store, key reprise.StoreKey, lifetime time.Duration) stored {
	c.Helper()
	begun := time.Now()
	c.put(s, key, []byte("record"), lifetime)
	return stored{key, lifetime, begun, time.Now()}
}

// awaitExpiry reads the record until it is gone, and fails if that was too soon or is too late.
func (c *checker) awaitExpiry(s reprise.Store, r stored) {
	c.Helper()
	for {
		asked := time.Now()
		_, ok, err := s.Get(c.Context(), r.key)
		if err != nil {
			c.fail("Get: %v", err)
		}
		if age := time.Since(r.begun); !ok && age < r.lifetime-grain {
			c.fail("the record was gone after %v, its lifetime is %v", age, r.lifetime)
		}
		if !ok {
			return
		}
		if age := asked.Sub(r.done); age > r.lifetime+resolution+grain {
			c.fail("the record was still there after %v, its lifetime is %v", age, r.lifetime)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitShort waits until all records that were put for the lifetime short before the call are past it, however coarse
// the store's clock is, and touches none of them.
func (c *checker) awaitShort(s reprise.Store) {
	c.Helper()
	c.awaitExpiry(s, c.store(s, newKey(), short))
}

// together runs f n times at once and waits for all. f must not end the case: it returns what is wrong, or nil.
func (c *checker) together(n int, f func(i int) error) {
	c.Helper()
	errs := make([]error, n)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	c.prompt("a call among many", wg.Wait)
	for _, err := range errs {
		if err != nil {
			c.fail("%v", err)
		}
	}
}

func newKey() (key reprise.StoreKey) {
	rand.Read(key[:])
	return key
}

func newKeys(n int) []reprise.StoreKey {
	keys := make([]reprise.StoreKey, n)
	for i := range keys {
		keys[i] = newKey()
	}
	return keys
}

func newRecord(n int) []byte {
	record := make([]byte, n)
	rand.Read(record)
	return record
}
