package pebblestore

import (
	"bytes"
	"context"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/reprise-tls/reprise"
)

// Each implements [reprise.Iterator]. It shows the records as they were when it was called, and calls f on the caller's
// goroutine. The room of what is deleted meanwhile comes back when Each has ended.
func (s *Store) Each(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
	return s.scan(ctx, func(e *engine) (err error) {
		now := time.Now()
		for key, found := range e.all(ctx, allRecords, &err) {
			if found.alive(now) && !f(key, bytes.Clone(found.record), found.expires()) {
				break
			}
		}
		return err
	})
}

// Count implements [reprise.Counter]. It includes expired records that are not yet swept, and reads the whole store.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.scan(ctx, func(e *engine) (err error) {
		for range e.all(ctx, allRecords, &err) {
			n++
		}
		return err
	})
	return n, err
}

// Clear implements [reprise.Clearer]. It returns -1, since it does not look at the records, after the disk has confirmed
// the removal.
func (s *Store) Clear(ctx context.Context) (removed int, err error) {
	_, err = call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.clear(ctx) })
	return -1, err
}

// scan runs f with the engine on the caller's goroutine.
func (s *Store) scan(ctx context.Context, f func(*engine) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := s.enter()
	if err != nil {
		return err
	}
	defer e.users.Done()
	return e.failure(f(e))
}

// allRecords are the bounds of all records.
var allRecords = pebble.KeyRange{Start: []byte{recordPrefix}, End: []byte{recordPrefix + 1}}

// all goes through the records within bounds as they are now, in the order of their keys, and sets *err if it has to
// end early. An entry is valid until the next one comes.
func (e *engine) all(ctx context.Context, bounds pebble.KeyRange, err *error) iter.Seq2[reprise.StoreKey, entry] {
	return func(yield func(reprise.StoreKey, entry) bool) {
		it, openErr := e.db.NewIter(&pebble.IterOptions{LowerBound: bounds.Start, UpperBound: bounds.End})
		if *err = openErr; *err != nil {
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			key, ok := storeKey(it.Key())
			if ok && !yield(key, unmarshal(it.Value())) {
				return
			}
			if *err = ctx.Err(); *err != nil {
				return
			}
		}
		*err = it.Error()
	}
}
