package pebblestore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/reprise-tls/reprise"
)

// A batchPut is a put of a batch, with its entry marshaled.
type batchPut struct {
	key    reprise.StoreKey
	value  []byte
	expiry int64
}

// PutBatch implements [reprise.BatchPutter] by one write: after a crash either all of the records are there or none. In the order
// of their keys they cost less.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut) error {
	batch := make([]batchPut, 0, len(puts))
	now := time.Now()
	for _, p := range puts {
		if err := checkPut(p.Record, p.Lifetime); err != nil {
			return err
		}
		expiry := expiryAfter(now, p.Lifetime)
		batch = append(batch, batchPut{p.Key, entry{p.Record, expiry}.marshal(), expiry})
	}
	slices.SortFunc(batch, func(a, b batchPut) int { return bytes.Compare(a.key[:], b.key[:]) })
	_, err := call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.putBatch(batch) })
	return err
}

// BatchDelay implements [reprise.BatchPutter]. Nobody else has the store, and what is put is not synced sooner anyway.
func (s *Store) BatchDelay() time.Duration { return 50 * time.Millisecond }

// putBatch stores a batch. It returns before the disk has it.
func (e *engine) putBatch(batch []batchPut) error {
	if e.refusal != nil {
		return e.refusal
	}
	for i, p := range batch { // in order, so that no two batches wait for each other
		if i == 0 || p.key[0] != batch[i-1].key[0] {
			mu := &e.keys[p.key[0]]
			mu.Lock()
			defer mu.Unlock()
		}
	}
	writes := e.db.NewBatch()
	defer writes.Close()
	for _, p := range batch {
		e.census.add(p.expiry)
		if err := writes.Set(makeKey(p.key), p.value, nil); err != nil {
			return err
		}
	}
	err := e.db.Apply(writes, pebble.NoSync)
	e.dirty.Store(true)
	return err
}
