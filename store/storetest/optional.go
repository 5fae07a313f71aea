package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-tls/reprise"
)

// optional returns s as an optional interface of package reprise, or skips the case.
func optional[T any](c *checker, s reprise.Store) T {
	c.Helper()
	o, ok := s.(T)
	if !ok {
		c.Skip("the store does not implement this optional interface")
	}
	return o
}

func checkBatch(c *checker) {
	s := c.open()
	batcher := optional[reprise.BatchPutter](c, s)
	keys := newKeys(60)
	want := make([][]byte, len(keys))
	puts := make([]reprise.StorePut, len(keys))
	for i, key := range keys {
		if i%3 == 0 {
			c.put(s, key, newRecord(300), long) // to be replaced
		}
		want[i] = newRecord(100 + i)
		puts[i] = reprise.StorePut{Key: key, Record: want[i], Lifetime: long}
		if i%10 == 9 {
			puts[i].Lifetime = short
		}
	}
	for i, err := range c.putBatch(c.Context(), batcher, puts) {
		if err != nil {
			c.fail("PutBatch has told of put %d: %v", i, err)
		}
	}
	c.awaitShort(s)
	for i, key := range keys {
		if puts[i].Lifetime == short {
			c.wantAbsent("Get of a record of a batch past its lifetime", s.Get, key)
		} else {
			c.want("Get of a record of a batch", s.Get, key, want[i])
		}
	}
	puts = []reprise.StorePut{{Key: newKey(), Record: want[0], Lifetime: long}, {Key: newKey(), Record: want[0]}, {Key: newKey(), Record: want[1], Lifetime: long}}
	for i, err := range c.putBatch(c.Context(), batcher, puts) {
		if i == 1 && err == nil {
			c.fail("PutBatch has told no error of a put for a lifetime of 0")
		} else if i != 1 && err != nil {
			c.fail("PutBatch has told an error of a put beside one for a lifetime of 0: %v", err)
		}
	}
	c.want("Get of the first record of a batch with a put that fails", s.Get, puts[0].Key, want[0])
	c.want("Get of the last record of a batch with a put that fails", s.Get, puts[2].Key, want[1])
	c.wantAbsent("Get of a record that was put for a lifetime of 0", s.Get, puts[1].Key)
}

// putBatch calls PutBatch, which must tell of each put once.
func (c *checker) putBatch(ctx context.Context, s reprise.BatchPutter, puts []reprise.StorePut) []error {
	c.Helper()
	errs, err := putBatch(ctx, s, puts)
	if err != nil {
		c.fail("%v", err)
	}
	return errs
}

// putBatch returns the outcome of each put, and an error unless it was told of each once.
func putBatch(ctx context.Context, s reprise.BatchPutter, puts []reprise.StorePut) (outcomes []error, err error) {
	var mu sync.Mutex
	outcomes = make([]error, len(puts))
	told := make([]int, len(puts))
	s.PutBatch(ctx, puts, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[i] = err
		told[i]++
	})
	mu.Lock()
	defer mu.Unlock()
	for i, times := range told {
		if times != 1 {
			err = fmt.Errorf("PutBatch has told %d times of put %d", times, i)
		}
	}
	return outcomes, err
}

func checkPartition(c *checker) {
	s := c.open()
	partitioned := optional[reprise.Partitioned](c, s)
	for _, key := range newKeys(100) {
		var first, second string
		c.prompt("Partition", func() { first, second = partitioned.Partition(key), partitioned.Partition(key) })
		if first != second || len(first) > 255 {
			c.fail("Partition returned %q for a key, and then %q", first, second)
		}
	}
}

func checkGetBatch(c *checker) {
	s := c.open()
	getter := optional[reprise.BatchGetter](c, s)
	want := make(map[reprise.StoreKey][]byte)
	keys := newKeys(40)
	for i, key := range keys {
		switch i % 4 {
		case 0: // absent
		case 1:
			c.put(s, key, newRecord(200), short)
		default:
			want[key] = newRecord(100 + i)
			c.put(s, key, want[key], long)
		}
	}
	c.awaitShort(s)
	keys = append(keys, keys[2], keys[3], keys[2], keys[0])
	got := c.getBatch(c.Context(), getter, keys)
	for i, key := range keys {
		switch {
		case got[i].err != nil:
			c.fail("GetBatch: %v", got[i].err)
		case !bytes.Equal(got[i].record, want[key]) || want[key] == nil && got[i].record != nil:
			c.fail("GetBatch has told of %x for key %d, want %x", got[i].record, i, want[key])
		}
		clear(got[i].record) // it is the caller's
	}
	cancelled, cancel := context.WithCancel(c.Context())
	cancel()
	for i, one := range c.getBatch(cancelled, getter, keys[:5]) {
		if one.err == nil {
			c.fail("GetBatch has told no error for key %d though its context is done", i)
		}
	}
}

// A gotten is what GetBatch tells of one key.
type gotten struct {
	record []byte
	err    error
	told   int
}

// getBatch calls GetBatch, which must tell of each key once.
func (c *checker) getBatch(ctx context.Context, s reprise.BatchGetter, keys []reprise.StoreKey) []gotten {
	c.Helper()
	var mu sync.Mutex
	got := make([]gotten, len(keys))
	c.prompt("GetBatch", func() {
		s.GetBatch(ctx, keys, func(i int, record []byte, err error) {
			mu.Lock()
			defer mu.Unlock()
			got[i] = gotten{record, err, got[i].told + 1}
		})
	})
	mu.Lock()
	defer mu.Unlock()
	for i := range got {
		if got[i].told != 1 {
			c.fail("GetBatch has told %d times of key %d", got[i].told, i)
		}
	}
	return got
}

// each runs Each over a copy of what it shows.
func (c *checker) each(s reprise.Store, f func(reprise.StoreKey, []byte, time.Time) bool) {
	c.Helper()
	it := optional[reprise.Iterator](c, s)
	var err error
	c.prompt("Each", func() { err = it.Each(c.Context(), f) })
	if err != nil {
		c.fail("Each: %v", err)
	}
}

// fill puts n records that outlive the case.
func (c *checker) fill(s reprise.Store, n int) map[reprise.StoreKey][]byte {
	c.Helper()
	records := make(map[reprise.StoreKey][]byte, n)
	for _, key := range newKeys(n) {
		records[key] = newRecord(100)
		c.put(s, key, records[key], long)
	}
	return records
}

func checkEach(c *checker) {
	s := c.open()
	optional[reprise.Iterator](c, s)
	begun := time.Now()
	want := c.fill(s, 300)
	latest := time.Now().Add(long + resolution + time.Second)
	var wrong error
	c.each(s, func(key reprise.StoreKey, record []byte, expiry time.Time) bool {
		if !bytes.Equal(want[key], record) {
			wrong = errors.New("Each showed a record twice, or one that was never put under its key")
		}
		if expiry.Before(begun.Add(long-time.Second)) || expiry.After(latest) {
			wrong = errors.New("Each showed a record with another expiry than it was put for")
		}
		delete(want, key)
		return true
	})
	if wrong != nil {
		c.fail("%v", wrong)
	}
	if len(want) > 0 {
		c.fail("Each left out %d records of 300", len(want))
	}
}

func checkEachExpired(c *checker) {
	s := c.open()
	optional[reprise.Iterator](c, s)
	want := c.fill(s, 3)
	for _, key := range newKeys(20) {
		c.put(s, key, newRecord(100), short)
	}
	c.awaitShort(s)
	expired := 0
	c.each(s, func(key reprise.StoreKey, _ []byte, _ time.Time) bool {
		if want[key] == nil {
			expired++
		}
		return true
	})
	if expired > 0 {
		c.fail("Each showed %d records that are past their lifetime", expired)
	}
}

func checkEachStops(c *checker) {
	s := c.open()
	it := optional[reprise.Iterator](c, s)
	c.fill(s, 20)
	shown := 0
	c.each(s, func(reprise.StoreKey, []byte, time.Time) bool {
		shown++
		return shown < 3
	})
	if shown != 3 {
		c.fail("Each called f %d times though the third call returned false", shown)
	}

	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	shown = 0
	var err error
	c.prompt("Each", func() {
		err = it.Each(ctx, func(reprise.StoreKey, []byte, time.Time) bool {
			shown++
			cancel()
			return true
		})
	})
	if shown != 1 {
		c.fail("Each called f %d times though the first call cancelled the context", shown)
	}
	if err == nil {
		c.fail("Each returned no error though its context was cancelled")
	}
}

func checkEachCalls(c *checker) {
	s := c.open()
	optional[reprise.Iterator](c, s)
	want := c.fill(s, 20)
	added, extra := newKey(), newRecord(100)
	var err error
	c.each(s, func(key reprise.StoreKey, record []byte, _ time.Time) bool {
		if want[key] == nil {
			return true // the one put below
		}
		err = errors.Join(err, s.Put(c.Context(), added, extra, long), s.Delete(c.Context(), key))
		return true
	})
	if err != nil {
		c.fail("a call from within Each: %v", err)
	}
	for key := range want {
		c.wantAbsent("Get of a record that was deleted from within Each", s.Get, key)
	}
	c.want("Get of a record that was put from within Each", s.Get, added, extra)
}

func checkCount(c *checker) {
	s := c.open()
	optional[reprise.Counter](c, s)
	c.wantCount(s, 0)
	keys := newKeys(20)
	for _, key := range keys {
		c.put(s, key, newRecord(100), long)
		c.put(s, key, newRecord(100), long)
	}
	c.wantCount(s, 20)
	c.delete(s, keys[0])
	c.delete(s, keys[0])
	c.wantCount(s, 19)
	if _, _, err := s.Take(c.Context(), keys[1]); err != nil {
		c.fail("Take: %v", err)
	}
	c.wantCount(s, 18)
}

// wantCount checks what the store counts, if it does.
func (c *checker) wantCount(s reprise.Store, want int) {
	c.Helper()
	counter, ok := s.(reprise.Counter)
	if !ok {
		return
	}
	n, err := counter.Count(c.Context())
	if err != nil {
		c.fail("Count: %v", err)
	}
	if n != want {
		c.fail("Count returned %d, want %d", n, want)
	}
}

func checkSweep(c *checker) {
	s := c.open()
	sweeper := optional[reprise.Sweeper](c, s)
	alive := c.fill(s, 30)
	for _, key := range newKeys(50) {
		c.put(s, key, newRecord(100), short)
	}
	renewed := newKey()
	alive[renewed] = newRecord(100)
	c.put(s, renewed, newRecord(100), short)
	c.put(s, renewed, alive[renewed], long)
	c.awaitShort(s)

	// The record that awaitShort put and read may have gone when it was read.
	if n := c.sweep(sweeper); n < 50 || n > 51 {
		c.fail("Sweep removed %d records, 50 or 51 are past their lifetime", n)
	}
	if n := c.sweep(sweeper); n != 0 {
		c.fail("a second Sweep removed %d records", n)
	}
	c.wantCount(s, len(alive))
	for key, record := range alive {
		c.want("Get after Sweep", s.Get, key, record)
	}
}

func (c *checker) sweep(s reprise.Sweeper) int {
	c.Helper()
	n, err := s.Sweep(c.Context())
	if err != nil {
		c.fail("Sweep: %v", err)
	}
	return n
}

func checkPing(c *checker) {
	if err := optional[reprise.Pinger](c, c.open()).Ping(c.Context()); err != nil {
		c.fail("Ping of a store that works: %v", err)
	}
}

func checkClear(c *checker) {
	s := c.open()
	clearer := optional[reprise.Clearer](c, s)
	old := c.fill(s, 300)
	n, err := clearer.Clear(c.Context())
	if err != nil {
		c.fail("Clear: %v", err)
	}
	if n != len(old) && n != -1 {
		c.fail("Clear returned %d, want 300, or -1 for unknown", n)
	}
	for key := range old {
		c.wantAbsent("Get after Clear", s.Get, key)
	}
	c.wantCount(s, 0)
	for key, record := range c.fill(s, 3) {
		c.want("Get of a record put after Clear", s.Get, key, record)
	}
}
