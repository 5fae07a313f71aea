package pebblestore

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// sweepPart is how many of the records must have expired to make a sweep worth its work: one in so many.
const sweepPart = 16

// Sweep implements [reprise.Sweeper]. It must read the whole store (a second for a million records, in which other calls
// wait for a few milliseconds at most), so it does nothing and returns 0 until one record in sixteen may have expired.
// The room on the disk comes back when Pebble compacts the files in question: by and by, as records are put. A sweep that
// removes more than it leaves compacts the store itself, so that the room comes back though nobody puts any more.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	err = s.scan(ctx, func(e *engine) error {
		removed, err = e.sweep(ctx)
		return err
	})
	return removed, err
}

// sweep deletes the records that are past their lifetime, one stripe after the other: the last first, so that a batch of puts, which locks them the
// other way, meets it once.
func (e *engine) sweep(ctx context.Context) (removed int, err error) {
	if e.refusal != nil {
		return 0, e.refusal
	}
	if !e.census.worthSweeping(time.Now()) {
		return 0, nil
	}
	e.census.begin()
	left := 0
	for first := len(e.keys) - 1; first >= 0; first-- {
		r, l, err := e.sweepStripe(ctx, byte(first))
		removed, left = removed+r, left+l
		if err != nil {
			e.census.forget()
			return removed, err
		}
	}
	if removed > left {
		err = e.db.Compact(ctx, allRecords.Start, allRecords.End, false)
	}
	return removed, err
}

// sweepStripe deletes expired records of one stripe. No put comes between its look at a record and the deletion.
func (e *engine) sweepStripe(ctx context.Context, first byte) (removed, left int, err error) {
	e.keys[first].Lock()
	defer e.keys[first].Unlock()
	batch := e.db.NewBatch()
	defer batch.Close()
	now := time.Now()
	for key, found := range e.all(ctx, stripeBounds(first), &err) {
		if found.alive(now) {
			e.census.add(found.expiry)
			left++
		} else if err := batch.Delete(makeKey(key), nil); err != nil {
			return 0, left, err
		}
	}
	if err != nil || batch.Empty() {
		return 0, left, err
	}
	e.dirty.Store(true)
	return int(batch.Count()), left, e.db.Apply(batch, pebble.NoSync)
}

// stripeBounds returns the bounds of the records of one stripe.
func stripeBounds(first byte) pebble.KeyRange {
	bounds := pebble.KeyRange{Start: []byte{recordPrefix, first}, End: allRecords.End}
	if first < 0xff {
		bounds.End = []byte{recordPrefix, first + 1}
	}
	return bounds
}

// A census tells how many records there are and how many of them have expired, without looking at them. It counts too
// many, since it does not hear of removals. The zero value knows nothing until the first sweep.
type census struct {
	mu      sync.Mutex
	minutes map[int64]int // records, by the minute of their expiry
}

// begin is called before a sweep that adds all records which it leaves.
func (c *census) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.minutes = make(map[int64]int)
}

// forget is called when a sweep did not come to its end.
func (c *census) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.minutes = nil
}

// add counts a record.
func (c *census) add(expiry int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.minutes != nil {
		c.minutes[expiry/time.Minute.Milliseconds()]++
	}
}

// worthSweeping reports whether enough records may have expired, or nothing is known.
func (c *census) worthSweeping(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.minutes == nil {
		return true
	}
	expired, total := 0, 0
	for minute, n := range c.minutes {
		total += n
		if minute <= now.UnixMilli()/time.Minute.Milliseconds() {
			expired += n
		}
	}
	return expired > 0 && expired*sweepPart >= total
}
