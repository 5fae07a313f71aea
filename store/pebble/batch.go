package pebblestore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/reprise-tls/reprise"
)

// PutBatch implements [reprise.BatchPutter] by one write: after a crash either all of the records are there or none.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(i int, err error)) {
	var places []int
	for i, p := range puts {
		if err := checkPut(p.Record, p.Lifetime); err != nil {
			done(i, err)
		} else {
			places = append(places, i)
		}
	}
	// In the order of their keys they cost the engine less.
	slices.SortFunc(places, func(a, b int) int { return bytes.Compare(puts[a].Key[:], puts[b].Key[:]) })
	inOrder := make([]reprise.StorePut, len(places))
	for at, i := range places {
		inOrder[at] = puts[i]
	}
	now := time.Now()
	_, err := call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.putBatch(inOrder, now) })
	for _, i := range places {
		done(i, err)
	}
}

// BatchDelay implements [reprise.BatchPutter]. Nobody else has the store, and what is put is not synced sooner anyway.
func (s *Store) BatchDelay() time.Duration { return 50 * time.Millisecond }

// putBatch stores records in the order of their keys. It returns before the disk has them.
func (e *engine) putBatch(puts []reprise.StorePut, now time.Time) error {
	if e.refusal != nil {
		return e.refusal
	}
	for i, p := range puts { // no two batches wait for each other: all lock in the same order
		if i == 0 || p.Key[0] != puts[i-1].Key[0] {
			mu := &e.keys[p.Key[0]]
			mu.Lock()
			defer mu.Unlock()
		}
	}
	writes := e.db.NewBatch()
	defer writes.Close()
	for _, p := range puts {
		put := entry{p.Record, expiryAfter(now, p.Lifetime)}
		e.census.add(put.expiry)
		write := writes.SetDeferred(1+len(p.Key), entryHeader+len(p.Record))
		appendKey(write.Key[:0], p.Key)
		put.appendTo(write.Value[:0])
		if err := write.Finish(); err != nil {
			return err
		}
	}
	err := e.db.Apply(writes, pebble.NoSync)
	e.dirty.Store(true)
	return err
}
