package memory_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
	"github.com/reprise-tls/reprise/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) reprise.Store { return new(memory.Store) })
}

func TestExpiryIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory.Store
		key, record := reprise.StoreKey{1}, []byte("record")
		if err := s.Put(t.Context(), key, record, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		if got, ok, err := s.Get(t.Context(), key); !ok || err != nil || !bytes.Equal(got, record) {
			t.Errorf("a moment before its expiry: Get = %q, %v, %v", got, ok, err)
		}
		time.Sleep(time.Nanosecond)
		if _, ok, err := s.Get(t.Context(), key); ok || err != nil {
			t.Errorf("at its expiry: ok %v, error %v; want neither", ok, err)
		}
	})
}

func TestMaxRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.Store{MaxRecords: 2}
		put := func(key byte, lifetime time.Duration) error {
			return s.Put(t.Context(), reprise.StoreKey{key}, []byte("record"), lifetime)
		}
		if err := errors.Join(put(1, time.Second), put(2, time.Hour), put(2, time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := put(3, time.Hour); !errors.Is(err, memory.ErrFull) {
			t.Errorf("Put into a full store: error %v, want ErrFull", err)
		}
		time.Sleep(time.Second)
		if n, err := s.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("Sweep = %d, %v; want 1", n, err)
		}
		if err := put(3, time.Hour); err != nil {
			t.Errorf("Put after Sweep: %v", err)
		}
	})
}
