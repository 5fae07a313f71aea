// Package memory is a [reprise.Store] that lives in the process and ends with it: for tests, and for a server that need
// not resume after a restart. One store may serve any number of caches of a process.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise"
)

// ErrFull is the error of a Put that would take a [Store] over its MaxRecords.
var ErrFull = errors.New("memory: the store is full")

// A Store keeps records in maps. The zero value is an empty store without a bound, ready for use. A Store must not be
// copied after first use. It implements the optional interfaces of package reprise, but for those of stores that nodes share.
type Store struct {
	// MaxRecords is the number of records that the store takes, those past their lifetime and not yet swept included.
	// A Put of one more ends in [ErrFull]. Zero or less is no bound. It must not change after first use.
	MaxRecords int

	count  atomic.Int64
	shards [256]shard
	values values
}

// A shard holds the records whose keys begin with the same byte. Keys are random, so shards are of about one size.
type shard struct {
	mu      sync.Mutex
	entries map[reprise.StoreKey]entry
}

type entry struct {
	record []byte
	expiry time.Time // with a monotonic reading: steps of the wall clock change no lifetime
}

// Put implements [reprise.Store].
func (s *Store) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if lifetime <= 0 {
		return fmt.Errorf("memory: lifetime of %v, it must be more than zero", lifetime)
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.entries[key]; !ok {
		if n := s.count.Add(1); s.MaxRecords > 0 && n > int64(s.MaxRecords) {
			s.count.Add(-1)
			return ErrFull
		}
	}
	if sh.entries == nil {
		sh.entries = make(map[reprise.StoreKey]entry)
	}
	sh.entries[key] = entry{bytes.Clone(record), time.Now().Add(lifetime)}
	return nil
}

// Get implements [reprise.Store].
func (s *Store) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, ok := sh.entries[key]
	if !ok || !e.alive(time.Now()) {
		return nil, false, nil
	}
	return bytes.Clone(e.record), true, nil
}

// Take implements [reprise.Store].
func (s *Store) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, ok := sh.entries[key]
	if !ok {
		return nil, false, nil
	}
	s.remove(sh, key)
	if !e.alive(time.Now()) {
		return nil, false, nil
	}
	return e.record, true, nil
}

// Delete implements [reprise.Store].
func (s *Store) Delete(ctx context.Context, key reprise.StoreKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.remove(sh, key)
	return nil
}

// TakePromise implements [reprise.TakePromiser]: a take is atomic. It is not durable, since nothing here is.
func (s *Store) TakePromise() reprise.TakePromise { return reprise.TakePromise{Atomic: true} }

// Each implements [reprise.Iterator].
func (s *Store) Each(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
	for i := range s.shards {
		for key, e := range s.shards[i].snapshot() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !f(key, bytes.Clone(e.record), e.expiry) {
				return nil
			}
		}
	}
	return ctx.Err()
}

// Count implements [reprise.Counter]. It includes records past their lifetime that are not yet swept.
func (s *Store) Count(ctx context.Context) (int, error) { return int(s.count.Load()), ctx.Err() }

// Sweep implements [reprise.Sweeper].
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	return s.removeIf(ctx, func(e entry, now time.Time) bool { return !e.alive(now) })
}

// Clear implements [reprise.Clearer].
func (s *Store) Clear(ctx context.Context) (removed int, err error) {
	s.values.clear()
	return s.removeIf(ctx, func(entry, time.Time) bool { return true })
}

// Ping implements [reprise.Pinger]. It fails only if ctx is done.
func (s *Store) Ping(ctx context.Context) error { return ctx.Err() }

func (s *Store) shard(key reprise.StoreKey) *shard { return &s.shards[key[0]] }

// remove deletes the entry of key, if there is one. The lock of sh must be held.
func (s *Store) remove(sh *shard, key reprise.StoreKey) {
	if _, ok := sh.entries[key]; ok {
		delete(sh.entries, key)
		s.count.Add(-1)
	}
}

// removeIf deletes the entries for which f returns true, a shard at a time.
func (s *Store) removeIf(ctx context.Context, f func(entry, time.Time) bool) (removed int, err error) {
	for i := range s.shards {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		removed += s.removeFromShard(&s.shards[i], f)
	}
	return removed, nil
}

func (s *Store) removeFromShard(sh *shard, f func(entry, time.Time) bool) (removed int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now()
	for key, e := range sh.entries {
		if f(e, now) {
			s.remove(sh, key)
			removed++
		}
	}
	return removed
}

// snapshot returns a copy of the entries that are not past their lifetime.
func (sh *shard) snapshot() map[reprise.StoreKey]entry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now()
	alive := make(map[reprise.StoreKey]entry, len(sh.entries))
	for key, e := range sh.entries {
		if e.alive(now) {
			alive[key] = e
		}
	}
	return alive
}

func (e entry) alive(now time.Time) bool { return now.Before(e.expiry) }
