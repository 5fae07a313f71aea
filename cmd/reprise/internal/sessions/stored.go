package sessions

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
)

// A Stored is the sessions of a store, as far as their records say in clear.
type Stored struct {
	Store reprise.Store
	// Skip is the key of a record that is no session.
	Skip reprise.StoreKey
	// Keys are the fleet keys of the store, which revoking takes. They may be nil.
	Keys *reprise.FleetKeys
}

var _ Source = Stored{}

// All implements [Source]. Of a store that can't list its records it has none.
func (s Stored) All(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		iterator, ok := s.Store.(reprise.Iterator)
		if !ok {
			return
		}
		stopped := false
		err := iterator.Each(ctx, func(key reprise.StoreKey, record []byte, expiry time.Time) bool {
			if key != s.Skip && strings.HasPrefix(hex.EncodeToString(key[:]), prefix) {
				stopped = !yield(fromRecord(key, record, expiry), nil)
			}
			return !stopped
		})
		if err != nil && !stopped {
			yield(Entry{}, fmt.Errorf("list the store: %w", err))
		}
	}
}

// Remove implements [Source]. The internal caches of servers that use the store are not reached.
func (s Stored) Remove(ctx context.Context, digits string) (Entry, error) {
	entry, err := Find(ctx, s, digits)
	if err != nil {
		return entry, err
	}
	return entry, s.delete(ctx, entry)
}

func (s Stored) delete(ctx context.Context, entry Entry) error {
	key, err := entry.key()
	if err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

// key returns the key of the entry's record.
func (e Entry) key() (key reprise.StoreKey, err error) {
	decoded, err := hex.DecodeString(e.StoreKey)
	if err != nil || len(decoded) != len(key) {
		return key, fmt.Errorf("%q is no store key", e.StoreKey)
	}
	return reprise.StoreKey(decoded), nil
}

// Flush implements [Source].
func (s Stored) Flush(ctx context.Context, expiredOnly bool) (Flushed, error) {
	if expiredOnly {
		return s.sweep(ctx)
	}
	return s.clear(ctx)
}

func (s Stored) sweep(ctx context.Context) (Flushed, error) {
	sweeper, ok := s.Store.(reprise.Sweeper)
	if !ok {
		return Flushed{}, nil // it does so by itself
	}
	n, err := sweeper.Sweep(ctx)
	return Flushed{Stored: n}, err
}

// clear empties the store, with what is no session in it.
func (s Stored) clear(ctx context.Context) (Flushed, error) {
	clearer, ok := s.Store.(reprise.Clearer)
	if !ok {
		return s.deleteAll(ctx)
	}
	n := s.count(ctx)
	cleared, err := clearer.Clear(ctx)
	if n < 0 {
		n = cleared
	}
	return Flushed{Stored: n}, err
}

// count returns how many sessions there are, -1 if that can't be told.
func (s Stored) count(ctx context.Context) int {
	counter, ok := s.Store.(reprise.Counter)
	if !ok {
		return -1
	}
	n, err := counter.Count(ctx)
	if err != nil {
		return -1
	}
	if _, ok, _ := s.Store.Get(ctx, s.Skip); ok {
		n--
	}
	return n
}

func (s Stored) deleteAll(ctx context.Context) (f Flushed, err error) {
	for entry, err := range s.All(ctx, "") {
		if err == nil {
			err = s.delete(ctx, entry)
		}
		if err != nil {
			return f, err
		}
		f.Stored++
	}
	return f, s.Store.Delete(ctx, s.Skip)
}
