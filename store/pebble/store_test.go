package pebblestore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
	"github.com/reprise-tls/reprise/store/storetest"
)

func TestStore(t *testing.T) {
	dirs := make(map[reprise.Store]string)
	storetest.Suite{
		Open: func(t *testing.T) reprise.Store {
			dir := t.TempDir()
			s := open(t, dir)
			dirs[s] = dir
			return s
		},
		Reopen: func(t *testing.T, s reprise.Store) reprise.Store {
			closeStore(t, s.(*pebblestore.Store))
			return open(t, dirs[s])
		},
	}.Run(t)
}

func TestTakePromise(t *testing.T) {
	if p := open(t, t.TempDir()).TakePromise(); !p.Atomic || !p.Durable {
		t.Errorf("TakePromise = %+v, want both", p)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, keyOf(1), record(1))
	closeStore(t, s)
	if _, _, err := s.Get(t.Context(), keyOf(1)); !errors.Is(err, pebblestore.ErrClosed) {
		t.Errorf("Get: %v, want ErrClosed", err)
	}
	if _, err := s.Count(t.Context()); !errors.Is(err, pebblestore.ErrClosed) {
		t.Errorf("Count: %v, want ErrClosed", err)
	}
	closeStore(t, s)
}

func TestRecordsOfOtherLengthsAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for _, n := range []int{0, reprise.MaxRecordLength + 1} {
		if err := s.Put(t.Context(), keyOf(1), make([]byte, n), time.Hour); err == nil {
			t.Errorf("a record of %d bytes was not refused", n)
		}
	}
}

// TestSweepWaits checks that a sweep reads the store only if that may be worth it.
func TestSweepWaits(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 100 {
		put(t, s, keyOf(i), record(i))
	}
	sweep := func(want int) {
		t.Helper()
		if n, err := s.Sweep(t.Context()); n != want || err != nil {
			t.Fatalf("Sweep = %d, %v; want %d", n, err, want)
		}
	}
	expire := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := s.Put(t.Context(), keyOf(i), record(i), time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	expire(0, 1)
	sweep(1) // the first one does not know what there is
	expire(1, 3)
	sweep(0)
	expire(3, 10)
	sweep(9)
	sweep(0)
}

// TestRoomComesBack checks that the disk gets back what expired, though nobody writes any more.
func TestRoomComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	const n, lifetime = 8_000, time.Second
	for i := range n {
		if err := s.Put(t.Context(), keyOf(i), bytes.Repeat(record(i), 20), lifetime); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, keyOf(n), record(n))
	full := awaitTables(t, dir)
	time.Sleep(lifetime + time.Millisecond)
	if removed, err := s.Sweep(t.Context()); removed != n || err != nil {
		t.Fatalf("Sweep = %d, %v", removed, err)
	}
	wantRoom(t, dir, full/4)
	wantThere(t, s, keyOf(n), record(n))
}

func TestClearGivesRoomBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 8_000 {
		put(t, s, keyOf(i), bytes.Repeat(record(i), 20))
	}
	full := awaitTables(t, dir)
	if _, err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRoom(t, dir, full/100)
}

// wantRoom waits until the tables of the folder are no larger than limit.
func wantRoom(t *testing.T, dir string, limit int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); tableSize(t, dir) > limit; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("tables of %d bytes, want at most %d", tableSize(t, dir), limit)
		}
	}
}

// awaitTables waits until there are tables, and returns their size.
func awaitTables(t *testing.T, dir string) int64 {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); tableSize(t, dir) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is in tables; the test is of what is")
		}
	}
	return tableSize(t, dir)
}

// tableSize returns the size of the files that hold records. (The logs beside them are four at most, and used again.)
func tableSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // compacted meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

func open(t *testing.T, dir string) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *pebblestore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, s *pebblestore.Store, key reprise.StoreKey, record []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, record, time.Hour); err != nil {
		t.Fatal(err)
	}
}

func wantThere(t *testing.T, s *pebblestore.Store, key reprise.StoreKey, record []byte) {
	t.Helper()
	if got, ok, err := s.Get(t.Context(), key); !ok || err != nil || !bytes.Equal(got, record) {
		t.Errorf("Get = %d bytes, %v, %v; want the record of %d bytes that was put", len(got), ok, err, len(record))
	}
}

func wantAbsent(t *testing.T, s *pebblestore.Store, key reprise.StoreKey) {
	t.Helper()
	if _, ok, err := s.Get(t.Context(), key); ok || err != nil {
		t.Errorf("Get = %v, %v; want none", ok, err)
	}
}

// keyOf returns the i-th key. Keys are spread over all stripes.
func keyOf(i int) (key reprise.StoreKey) {
	binary.LittleEndian.PutUint64(key[:], uint64(i)*0x9e3779b97f4a7c15)
	return key
}

// record returns a record of 200 bytes that belongs to the i-th key.
func record(i int) []byte {
	key := keyOf(i)
	return bytes.Repeat(key[:8], 25)
}
