package memory

import (
	"bytes"
	"context"
	"sync"

	"github.com/reprise-tls/reprise"
)

// values holds the values of a store.
type values struct {
	mu   sync.Mutex
	held map[reprise.StoreKey][]byte
}

// Value implements [reprise.Swapper].
func (s *Store) Value(ctx context.Context, key reprise.StoreKey) (value []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	return bytes.Clone(s.values.held[key]), nil
}

// SwapValue implements [reprise.Swapper].
func (s *Store) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (swapped bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	if !bytes.Equal(s.values.held[key], old) {
		return false, nil
	}
	if s.values.held == nil {
		s.values.held = make(map[reprise.StoreKey][]byte)
	}
	s.values.held[key] = bytes.Clone(value)
	return true, nil
}

func (v *values) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = nil
}
