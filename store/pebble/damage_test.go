package pebblestore_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// TestDamagedTable turns one bit of a file and checks that records are right or absent, that most stay, and that the
// store goes on.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	dir, n := filledFolder(t)
	tables := glob(t, dir, "*.sst")
	table := tables[len(tables)-1]
	turnBit(t, table, func(size int) int { return size / 2 })

	var log bytes.Buffer
	s, err := pebblestore.Open(dir, pebblestore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	there := countRight(t, s, n)
	if there == n {
		t.Error("no record is absent, though a file is damaged")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		count, err := s.Count(t.Context()) // fails as long as the damage is there
		if err == nil && count > 0 && count <= there {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Count = %d, %v; %d records were there", count, err, there)
		}
	}
	put(t, s, keyOf(1), largeRecord(1))
	wantThere(t, s, keyOf(1), largeRecord(1))
	closeStore(t, s)
	if !strings.Contains(log.String(), "damaged") || !strings.Contains(log.String(), filepath.Base(table)) {
		t.Errorf("the log does not name the damaged file: %s", log.String())
	}
	if after := countRight(t, open(t, dir), n); after == 0 || after > there {
		t.Errorf("%d records are there after a restart, %d were before", after, there)
	}
}

// TestDamagedFolder damages files at random. Open must fail with an error, or the store must work and never return a
// wrong record.
func TestDamagedFolder(t *testing.T) {
	t.Parallel()
	origin, n := filledFolder(t)
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 0))
		dir := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
			t.Fatal(err)
		}
		files := glob(t, dir, "*[0-9]*") // not the mark and the lock
		file := files[random.IntN(len(files))]
		if seed%4 == 0 {
			truncate(t, file, random)
		} else {
			turnBit(t, file, random.IntN)
		}
		s, err := pebblestore.Open(dir, pebblestore.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("%s damaged: Open gives no hint: %v", filepath.Base(file), err)
			}
			continue
		}
		countRight(t, s, n)
		put(t, s, keyOf(n), largeRecord(n))
		if _, ok, err := s.Take(t.Context(), keyOf(n)); !ok || err != nil {
			t.Errorf("%s damaged: Take = %v, %v", filepath.Base(file), ok, err)
		}
		closeStore(t, s)
	}
}

// TestMissingTable removes a file while the store is closed, which Open finds, and while it is open, which it survives.
func TestMissingTable(t *testing.T) {
	t.Parallel()
	dir, n := filledFolder(t)
	s := open(t, dir)
	for _, table := range glob(t, dir, "*.sst") {
		if err := os.Remove(table); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		// Files that were open still give records; for the others it is an error or absent.
		got, ok, err := s.Get(context.Background(), keyOf(i))
		if ok && (err != nil || !bytes.Equal(got, largeRecord(i))) {
			t.Fatalf("Get = %d bytes, %v, %v", len(got), ok, err)
		}
	}
	s.Close()
	wantOpenError(t, dir, "hint: if the folder is damaged, move it away")
}

// filledFolder returns a closed store with n records, most of them in tables.
func filledFolder(t *testing.T) (dir string, n int) {
	t.Helper()
	dir, n = t.TempDir(), 1_000
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		put(t, s, keyOf(i), largeRecord(i))
		if i == n*9/10 {
			if err := s.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeStore(t, s)
	return dir, n
}

// countRight returns how many of n records are there, and fails if one is not what was put.
func countRight(t *testing.T, s *pebblestore.Store, n int) (there int) {
	t.Helper()
	for i := range n {
		got, ok, err := s.Get(t.Context(), keyOf(i))
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		if ok && !bytes.Equal(got, largeRecord(i)) {
			t.Fatal("Get returned a wrong record")
		}
		if ok {
			there++
		}
	}
	return there
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("files %s: %v, %v", pattern, names, err)
	}
	return names
}

// turnBit changes a bit of the byte of the file that where chooses.
func turnBit(t *testing.T, name string, where func(size int) int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) == 0 {
		return
	}
	text[where(len(text))] ^= 0x10
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, name string, random *rand.Rand) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, random.Int64N(info.Size()+1)); err != nil {
		t.Fatal(err)
	}
}
