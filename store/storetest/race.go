package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/reprise-tls/reprise"
)

// takers is how many goroutines race for a record.
const takers = 8

func checkTakeRace(c *checker) {
	c.takeRace(c.open())
}

func checkSecondNode(c *checker) {
	if c.second == nil {
		c.Skip("the store belongs to one process")
	}
	s := c.open()
	other := c.second(s)
	key, record := newKey(), newRecord(200)
	c.put(s, key, record, long)
	c.want("Get at another node", other.Get, key, record)
	c.want("Take at another node", other.Take, key, record)
	c.wantAbsent("Get after a Take at another node", s.Get, key)
	c.put(other, key, record, long)
	c.delete(s, key)
	c.wantAbsent("Get after a Delete at another node", other.Get, key)

	if promise, ok := s.(reprise.TakePromiser); ok && promise.TakePromise().Atomic {
		c.takeRace(s, other)
	}
}

// takeRace lets takers at all nodes race for one record after the other, and wants one winner for each.
func (c *checker) takeRace(nodes ...reprise.Store) {
	c.Helper()
	record := newRecord(200)
	for round, key := range newKeys(100) {
		c.put(nodes[0], key, record, long)
		var wins atomic.Int32
		c.together(takers, func(i int) error {
			// Each node gets to be the one whose takers run first.
			ok, err := tryTake(c.Context(), nodes[(i+round)%len(nodes)], key, record)
			if ok {
				wins.Add(1)
			}
			return err
		})
		if n := wins.Load(); n != 1 {
			c.fail("%d takers raced for a record and %d got it, want one", takers, n)
		}
		c.wantAbsent("Get of a taken record", nodes[0].Get, key)
	}
}

func checkTakeDeleteRace(c *checker) {
	s := c.open()
	record := newRecord(200)
	for round := range 50 {
		key := newKey()
		c.put(s, key, record, long)
		var wins atomic.Int32
		c.together(4, func(i int) error {
			if (i+round/2)%4 < 2 { // those that run first are now deleters, now takers
				return s.Delete(c.Context(), key)
			}
			ok, err := tryTake(c.Context(), s, key, record)
			if ok {
				wins.Add(1)
			}
			return err
		})
		if n := wins.Load(); n > 1 {
			c.fail("2 takers and 2 deleters raced for a record and %d takers got it, want one at most", n)
		}
		c.wantAbsent("Get after Take and Delete", s.Get, key)
	}
}

// checkTakePutRace takes a record while another is put in its place. Whichever comes first, the second record must be
// taken once: by the racing taker, or by one that comes later.
func checkTakePutRace(c *checker) {
	s := c.open()
	for round := range 200 {
		key := newKey()
		first, second := newRecord(200), newRecord(200)
		c.put(s, key, first, long)
		var raced []byte
		c.together(2, func(i int) (err error) {
			if i == round%2 { // each gets to be the one that runs first
				return s.Put(c.Context(), key, second, long)
			}
			raced, _, err = s.Take(c.Context(), key)
			return err
		})
		switch {
		case bytes.Equal(raced, second):
			c.wantAbsent("Take of a record taken while it was put", s.Take, key)
		case bytes.Equal(raced, first):
			c.want("Take of a record that was put during another Take", s.Take, key, second)
		default:
			c.fail("Take raced with a Put that replaced the record, and returned neither record")
		}
	}
}

// checkConcurrent does everything at once to a few keys. Each record says which key it was put under.
func checkConcurrent(c *checker) {
	s := c.open()
	keys := newKeys(16)
	for _, key := range keys {
		c.put(s, key, recordOf(key), long)
	}
	c.together(takers, func(i int) error {
		random := rand.New(rand.NewPCG(uint64(i), 0))
		for range 100 {
			if err := anything(c.Context(), s, keys[random.IntN(len(keys))], random.IntN(6)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, key := range keys {
		c.put(s, key, recordOf(key), long)
		c.want("Get", s.Get, key, recordOf(key))
	}
}

// anything makes one call of those that a store takes, and checks the record that it gets.
func anything(ctx context.Context, s reprise.Store, key reprise.StoreKey, which int) error {
	switch which {
	case 0, 1:
		return s.Put(ctx, key, recordOf(key), long)
	case 2:
		return s.Delete(ctx, key)
	case 3:
		_, err := tryTake(ctx, s, key, recordOf(key))
		return err
	default:
		got, ok, err := s.Get(ctx, key)
		if ok && !bytes.Equal(got, recordOf(key)) {
			return errors.New("Get returned a record that was never put under its key")
		}
		return err
	}
}

// tryTake takes the record of key and fails if it is there and not the one wanted.
func tryTake(ctx context.Context, s reprise.Store, key reprise.StoreKey, want []byte) (bool, error) {
	got, ok, err := s.Take(ctx, key)
	if err != nil {
		return false, fmt.Errorf("Take: %w", err)
	}
	if ok && !bytes.Equal(got, want) {
		return false, errors.New("Take returned a record that was never put under its key")
	}
	return ok, nil
}

// recordOf returns a record whose length and content follow from key.
func recordOf(key reprise.StoreKey) []byte {
	return bytes.Repeat(key[:], 1+int(key[0])/8)
}
