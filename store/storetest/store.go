package storetest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"

	"github.com/reprise-tls/reprise"
)

func checkMiss(c *checker) {
	s := c.open()
	c.wantAbsent("Get", s.Get, newKey())
	c.wantAbsent("Take", s.Take, newKey())
	c.put(s, newKey(), newRecord(200), long)
	c.wantAbsent("Get", s.Get, newKey())
	c.wantAbsent("Take", s.Take, newKey())
}

func checkPutGet(c *checker) {
	s := c.open()
	key, record := newKey(), newRecord(200)
	c.put(s, key, record, long)
	c.want("Get", s.Get, key, record)
	c.want("a second Get", s.Get, key, record)
}

func checkOverwrite(c *checker) {
	s := c.open()
	key, old, record := newKey(), newRecord(300), newRecord(200)
	c.put(s, key, old, long)
	c.put(s, key, record, long)
	c.want("Get", s.Get, key, record)
	c.want("Take", s.Take, key, record)
	c.wantAbsent("a second Take", s.Take, key)
}

func checkOverwriteShortens(c *checker) {
	s := c.open()
	key := newKey()
	c.put(s, key, newRecord(200), long)
	c.awaitExpiry(s, c.store(s, key, short))
}

func checkOverwriteLengthens(c *checker) {
	s := c.open()
	key, record := newKey(), newRecord(200)
	c.put(s, key, newRecord(200), short)
	c.put(s, key, record, long)
	c.awaitShort(s)
	c.want("Get", s.Get, key, record)
	c.want("Take", s.Take, key, record)
}

func checkLifetime(c *checker) {
	s := c.open()
	// Not a whole number of any unit, and longer than a store's resolution may be.
	c.awaitExpiry(s, c.store(s, newKey(), 1_234_567*time.Microsecond))
}

func checkLifetimeZero(c *checker) {
	s := c.open()
	for _, lifetime := range []time.Duration{0, -1, -time.Millisecond, -time.Hour, math.MinInt64} {
		if err := s.Put(c.Context(), newKey(), newRecord(200), lifetime); err == nil {
			c.fail("Put for %v returned no error", lifetime)
		}
	}
}

func checkLifetimeShortest(c *checker) {
	s := c.open()
	for _, lifetime := range []time.Duration{1, time.Microsecond, 999 * time.Microsecond, time.Millisecond} {
		c.awaitExpiry(s, c.store(s, newKey(), lifetime))
	}
}

func checkLifetimeLong(c *checker) {
	s := c.open()
	for _, lifetime := range []time.Duration{7 * 24 * time.Hour, 366 * 24 * time.Hour, math.MaxInt64} {
		key, record := newKey(), newRecord(200)
		c.put(s, key, record, lifetime)
		c.want("Get", s.Get, key, record)
	}
}

func checkExpiredGet(c *checker) {
	s := c.open()
	c.awaitExpiry(s, c.store(s, newKey(), short))
}

func checkExpiredTake(c *checker) {
	s := c.open()
	key := newKey()
	c.put(s, key, newRecord(200), short)
	c.awaitShort(s)
	c.wantAbsent("Take", s.Take, key)
	c.wantAbsent("Get", s.Get, key)
}

func checkTake(c *checker) {
	s := c.open()
	key, other := newKey(), newKey()
	record, rest := newRecord(200), newRecord(200)
	c.put(s, key, record, long)
	c.put(s, other, rest, long)
	c.want("Take", s.Take, key, record)
	c.wantAbsent("a second Take", s.Take, key)
	c.wantAbsent("Get after Take", s.Get, key)
	c.want("Get of another record", s.Get, other, rest)

	c.put(s, key, rest, long)
	c.want("Take of a record put again", s.Take, key, rest)
}

func checkDelete(c *checker) {
	s := c.open()
	key, other, record := newKey(), newKey(), newRecord(200)
	c.delete(s, key)
	c.put(s, key, record, long)
	c.put(s, other, record, long)
	c.delete(s, key)
	c.wantAbsent("Get", s.Get, key)
	c.wantAbsent("Take", s.Take, key)
	c.delete(s, key)
	c.want("Get of another record", s.Get, other, record)
}

func checkCancelled(c *checker) {
	s := c.open()
	key := newKey()
	c.put(s, key, newRecord(200), long)

	cancelled, cancel := context.WithCancel(c.Context())
	cancel()
	late, cancel := context.WithDeadline(c.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		for name, call := range calls(s, key) {
			var err error
			c.prompt(name, func() { err = call(ctx) })
			if err == nil {
				c.fail("%s returned no error though its context is done: %v", name, ctx.Err())
			}
		}
	}
}

// calls returns each method that s has, as a function of the context.
func calls(s reprise.Store, key reprise.StoreKey) map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{
		"Put":    func(ctx context.Context) error { return s.Put(ctx, key, []byte("record"), long) },
		"Get":    func(ctx context.Context) error { _, _, err := s.Get(ctx, key); return err },
		"Take":   func(ctx context.Context) error { _, _, err := s.Take(ctx, key); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, key) },
	}
	if s, ok := s.(reprise.BatchPutter); ok {
		puts := []reprise.StorePut{{Key: key, Record: []byte("record"), Lifetime: long}, {Key: newKey(), Record: []byte("record"), Lifetime: long}}
		all["PutBatch"] = func(ctx context.Context) error {
			outcomes, err := putBatch(ctx, s, puts)
			return errors.Join(err, outcomes[0])
		}
	}
	if s, ok := s.(reprise.Iterator); ok {
		every := func(reprise.StoreKey, []byte, time.Time) bool { return true }
		all["Each"] = func(ctx context.Context) error { return s.Each(ctx, every) }
	}
	if s, ok := s.(reprise.Counter); ok {
		all["Count"] = func(ctx context.Context) error { _, err := s.Count(ctx); return err }
	}
	if s, ok := s.(reprise.Sweeper); ok {
		all["Sweep"] = func(ctx context.Context) error { _, err := s.Sweep(ctx); return err }
	}
	if s, ok := s.(reprise.Pinger); ok {
		all["Ping"] = s.Ping
	}
	if s, ok := s.(reprise.Clearer); ok {
		all["Clear"] = func(ctx context.Context) error { _, err := s.Clear(ctx); return err }
	}
	return all
}

func checkAliasing(c *checker) {
	s := c.open()
	key, want := newKey(), newRecord(200)
	record := bytes.Clone(want)
	c.put(s, key, record, long)
	clear(record)
	c.want("Get after the record's slice was changed", s.Get, key, want)

	got, _, err := s.Get(c.Context(), key)
	if err != nil {
		c.fail("Get: %v", err)
	}
	clear(got)
	c.want("Get after what Get returned was changed", s.Get, key, want)

	// A slice that Take returned must not be used for the next record.
	taken, _, err := s.Take(c.Context(), key)
	if err != nil {
		c.fail("Take: %v", err)
	}
	next, nextKey := newRecord(200), newKey()
	c.put(s, nextKey, next, long)
	if !bytes.Equal(taken, want) {
		c.fail("what Take returned was changed by a Put")
	}
	clear(taken)
	c.want("Get after what Take returned was changed", s.Get, nextKey, next)
}

func checkSizes(c *checker) {
	s := c.open()
	for _, n := range []int{1, 2, 127, 128, 255, 256, 4 << 10, 1<<15 + 1, reprise.MaxRecordLength - 1, reprise.MaxRecordLength} {
		key, record := newKey(), newRecord(n)
		c.put(s, key, record, long)
		c.want("Get", s.Get, key, record)
		c.want("Take", s.Take, key, record)
		c.wantAbsent("a second Take", s.Take, key)
	}
	for _, n := range []int{0, reprise.MaxRecordLength + 1} {
		key, record := newKey(), newRecord(n)
		if err := s.Put(c.Context(), key, record, long); err == nil {
			c.want("Get of a record that was not refused", s.Get, key, record)
		}
	}
}

func checkAllBytes(c *checker) {
	s := c.open()
	keys := make(map[reprise.StoreKey][]byte)
	for b := range 256 {
		var same, first, last reprise.StoreKey
		for i := range same {
			same[i] = byte(b)
		}
		first[0], last[len(last)-1] = byte(b), byte(b)
		for _, key := range []reprise.StoreKey{same, first, last} {
			keys[key] = everyByteFrom(len(keys))
		}
	}
	keys[reprise.StoreKey([]byte("\r\n$-1\r\n*1\r\n$4\r\nPING\r\n' OR 1=1 --"))] = []byte("\r\n\x00$-1\r\n\xff\xfe%s\\")
	for key, record := range keys {
		c.put(s, key, record, long)
	}
	for key, record := range keys {
		c.want("Get", s.Get, key, record)
	}
}

// everyByteFrom returns a record that begins with n and has every byte value in it.
func everyByteFrom(n int) []byte {
	record := []byte{byte(n >> 8), byte(n)}
	for b := range 256 {
		record = append(record, byte(n+b))
	}
	return record
}

func checkRestart(c *checker) {
	if c.reopen == nil {
		c.Skip("the store does not outlive its process")
	}
	s := c.open()
	promise, _ := s.(reprise.TakePromiser)
	durable := promise != nil && promise.TakePromise().Durable
	kept, taken, deleted, record := newKeys(100), newKeys(20), newKeys(20), newRecord(200)
	for _, keys := range [][]reprise.StoreKey{kept, taken, deleted} {
		for _, key := range keys {
			c.put(s, key, record, long)
		}
	}
	for i := range taken {
		c.want("Take", s.Take, taken[i], record)
		c.delete(s, deleted[i])
	}

	s = c.reopen(s)
	for _, key := range kept {
		c.want("Get after a restart", s.Get, key, record)
	}
	for i := range taken {
		if durable {
			c.wantAbsent("Take after a restart, of a record that was taken before it,", s.Take, taken[i])
			c.wantAbsent("Get after a restart, of a record that was deleted before it,", s.Get, deleted[i])
		}
	}
	c.want("Take after a restart", s.Take, kept[0], record)
	c.wantAbsent("a second Take after a restart", s.Take, kept[0])
}

func checkRestartLifetime(c *checker) {
	if c.reopen == nil {
		c.Skip("the store does not outlive its process")
	}
	s := c.open()
	key, record := newKey(), newRecord(200)
	c.put(s, key, record, long)
	r := c.store(s, newKey(), 10*short)
	s = c.reopen(s)
	c.awaitExpiry(s, r)
	c.want("Get", s.Get, key, record)
}
