package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/reprise-tls/reprise"
)

func (c *checker) swapper(s reprise.Store) reprise.Swapper {
	c.Helper()
	return optional[reprise.Swapper](c, s)
}

func (c *checker) wantValue(s reprise.Swapper, key reprise.StoreKey, want []byte) {
	c.Helper()
	got, err := s.Value(c.Context(), key)
	if err != nil {
		c.fail("Value: %v", err)
	}
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		c.fail("Value returned %d bytes, want the %d that were put", len(got), len(want))
	}
}

func (c *checker) swap(s reprise.Swapper, key reprise.StoreKey, old, value []byte, want bool) {
	c.Helper()
	old, value = bytes.Clone(old), bytes.Clone(value)
	swapped, err := s.SwapValue(c.Context(), key, old, value)
	if err != nil {
		c.fail("SwapValue: %v", err)
	}
	if swapped != want {
		c.fail("SwapValue returned %v, want %v", swapped, want)
	}
	clear(old)
	clear(value)
}

func checkValue(c *checker) {
	s := c.swapper(c.open())
	key, other := newKey(), newKey()
	small, large := newRecord(1), newRecord(reprise.MaxRecordLength)
	c.wantValue(s, key, nil)
	c.swap(s, key, small, large, false)
	c.wantValue(s, key, nil)
	c.swap(s, key, nil, small, true)
	c.swap(s, key, nil, large, false)
	c.swap(s, key, newRecord(2), large, false)
	c.wantValue(s, key, small)
	c.swap(s, key, small, large, true)
	c.wantValue(s, key, large)
	c.wantValue(s, other, nil)
	got, err := s.Value(c.Context(), key)
	if err != nil {
		c.fail("Value: %v", err)
	}
	clear(got) // it is the caller's
	c.swap(s, key, large, small, true)
}

func checkValueApart(c *checker) {
	store := c.open()
	s, key := c.swapper(store), newKey()
	value := newRecord(100)
	c.swap(s, key, nil, value, true)
	c.wantAbsent("Get under the key of a value", store.Get, key)
	c.wantAbsent("Take under the key of a value", store.Take, key)
	c.delete(store, key)
	c.wantCount(store, 0)
	if it, ok := store.(reprise.Iterator); ok {
		err := it.Each(c.Context(), func(reprise.StoreKey, []byte, time.Time) bool {
			value = nil
			return true
		})
		if err != nil || value == nil {
			c.fail("Each showed a value, or failed: %v", err)
		}
	}
	record := newRecord(100)
	c.put(store, key, record, long)
	c.wantValue(s, key, value)
	c.want("Get of a record under the key of a value", store.Get, key, record)
}

func checkValueCleared(c *checker) {
	store := c.open()
	s, clearer := c.swapper(store), optional[reprise.Clearer](c, store)
	key, value := newKey(), newRecord(100)
	c.swap(s, key, nil, value, true)
	if n, err := clearer.Clear(c.Context()); err != nil || n > 0 {
		c.fail("Clear of a value returned %d and error %v, it is no record", n, err)
	}
	c.wantValue(s, key, nil)
	c.swap(s, key, nil, value, true)
}

// checkSwapRace counts with many goroutines: none of the counts may be lost.
func checkSwapRace(c *checker) {
	const adders, each = 8, 25
	s, key := c.swapper(c.open()), newKey()
	c.together(adders, func(int) error {
		for range each {
			if err := addOne(c.Context(), s, key); err != nil {
				return err
			}
		}
		return nil
	})
	c.wantValue(s, key, binary.BigEndian.AppendUint64(nil, adders*each))
}

func addOne(ctx context.Context, s reprise.Swapper, key reprise.StoreKey) error {
	for {
		old, err := s.Value(ctx, key)
		if err != nil {
			return fmt.Errorf("Value: %w", err)
		}
		n := uint64(0)
		if old != nil {
			n = binary.BigEndian.Uint64(old)
		}
		swapped, err := s.SwapValue(ctx, key, old, binary.BigEndian.AppendUint64(nil, n+1))
		if err != nil {
			return fmt.Errorf("SwapValue: %w", err)
		}
		if swapped {
			return nil
		}
	}
}

func checkSwapCancelled(c *checker) {
	s, key := c.swapper(c.open()), newKey()
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	var err error
	c.prompt("a call with a cancelled context", func() {
		_, err1 := s.Value(ctx, key)
		_, err2 := s.SwapValue(ctx, key, nil, newRecord(10))
		if err1 == nil || err2 == nil {
			err = errors.New("a call with a cancelled context returned no error")
		}
	})
	if err != nil {
		c.fail("%v", err)
	}
}

func checkValueSecondNode(c *checker) {
	if c.second == nil {
		c.Skip("the suite has no second node")
	}
	first := c.open()
	a, b, key := c.swapper(first), c.swapper(c.second(first)), newKey()
	one, two := newRecord(100), newRecord(100)
	c.swap(a, key, nil, one, true)
	c.wantValue(b, key, one)
	c.swap(b, key, one, two, true)
	c.swap(a, key, one, one, false)
	c.wantValue(a, key, two)
}

func checkValueRestart(c *checker) {
	if c.reopen == nil {
		c.Skip("the suite can't restart the store")
	}
	store := c.open()
	s, key, value := c.swapper(store), newKey(), newRecord(100)
	c.swap(s, key, nil, newRecord(10), true)
	old, err := s.Value(c.Context(), key)
	if err != nil {
		c.fail("Value: %v", err)
	}
	c.swap(s, key, old, value, true)
	c.wantValue(c.swapper(c.reopen(store)), key, value)
}
