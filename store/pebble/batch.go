package pebblestore

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/reprise-tls/reprise"
)

// A batch is what PutBatch puts: marshaled entries and their keys.
type batch struct {
	keys   []reprise.StoreKey
	values [][]byte
}

// PutBatch implements [reprise.BatchPutter] by one write: after a crash either all of the records are there or none.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut) error {
	var b batch
	now := time.Now()
	for _, p := range puts {
		if err := checkPut(p.Record, p.Lifetime); err != nil {
			return err
		}
		b.keys = append(b.keys, p.Key)
		b.values = append(b.values, entry{p.Record, expiryAfter(now, p.Lifetime)}.marshal())
	}
	_, err := call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.putBatch(b) })
	return err
}

// putBatch stores the entries of a batch. It returns before the disk has them.
func (e *engine) putBatch(b batch) error {
	if e.refusal != nil {
		return e.refusal
	}
	var hit [len(stripes{})]bool // which stripes the keys are of
	for _, key := range b.keys {
		hit[key[0]] = true
	}
	for i := range hit { // in order, so that no two batches wait for each other
		if hit[i] {
			e.keys[i].Lock()
			defer e.keys[i].Unlock()
		}
	}
	writes := e.db.NewBatch()
	defer writes.Close()
	for i, key := range b.keys {
		e.census.add(unmarshal(b.values[i]).expiry)
		if err := writes.Set(makeKey(key), b.values[i], nil); err != nil {
			return err
		}
	}
	err := e.db.Apply(writes, pebble.NoSync)
	e.dirty.Store(true)
	return err
}
