package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/reprise-tls/reprise"
)

// valuePrefix begins the key of a value in the database.
const valuePrefix = 'v'

// Value implements [reprise.Swapper].
func (s *Store) Value(ctx context.Context, key reprise.StoreKey) (value []byte, err error) {
	return call(ctx, s, func(e *engine) ([]byte, error) { return e.value(key) })
}

// SwapValue implements [reprise.Swapper]. It returns after the disk has confirmed the value.
func (s *Store) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (swapped bool, err error) {
	if n := len(value); n == 0 || n > reprise.MaxRecordLength {
		return false, fmt.Errorf("pebblestore: value of %d bytes, it must be 1 to %d", n, reprise.MaxRecordLength)
	}
	old, value = bytes.Clone(old), bytes.Clone(value) // the call may go on when ctx is done
	return call(ctx, s, func(e *engine) (bool, error) { return e.swap(key, old, value) })
}

// value returns the value of key, nil if there is none. One that the engine knows to be damaged is absent.
func (e *engine) value(key reprise.StoreKey) ([]byte, error) {
	value, closer, err := e.db.Get(makeValueKey(key))
	if errors.Is(err, pebble.ErrNotFound) || pebble.IsCorruptionError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return bytes.Clone(value), nil
}

func (e *engine) swap(key reprise.StoreKey, old, value []byte) (swapped bool, err error) {
	if e.refusal != nil {
		return false, e.refusal
	}
	mu := &e.keys[key[0]]
	mu.Lock()
	defer mu.Unlock()
	held, err := e.value(key)
	if err != nil || !bytes.Equal(held, old) {
		return false, err
	}
	return true, e.db.Set(makeValueKey(key), value, pebble.Sync)
}

func makeValueKey(key reprise.StoreKey) []byte { return append([]byte{valuePrefix}, key[:]...) }
