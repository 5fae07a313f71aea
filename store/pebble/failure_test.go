package pebblestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// retry is how often the failed stores of these tests are opened again.
const retry = 10 * time.Millisecond

// TestFailedWrites lets every write fail from the n-th one on, for many n. The store must return errors and do nothing
// worse, keep its promises, and work again when writes do.
func TestFailedWrites(t *testing.T) {
	for n := int64(1); n < 300; n += 1 + n/8 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			disk := &failingDisk{after: n}
			s, err := pebblestore.OpenFS(t.TempDir(), pebblestore.Options{}, errorfs.Wrap(vfs.Default, disk), retry)
			if err != nil {
				if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "hint: make room on the disk") {
					t.Errorf("Open: %v, want ENOSPC and a hint", err)
				}
				return
			}
			defer closeStore(t, s)
			checkFailure(t, s, func() { disk.works.Store(true) })
		})
	}
}

// TestCloseOfFailedStore closes a store whose disk does not come back.
func TestCloseOfFailedStore(t *testing.T) {
	dir, disk := t.TempDir(), &failingDisk{after: 100}
	s, err := pebblestore.OpenFS(dir, pebblestore.Options{}, errorfs.Wrap(vfs.Default, disk), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	takes, _ := workUntilFailure(t, s)
	s.Close()
	s = open(t, dir)
	for i := range takes {
		wantAbsent(t, s, keyOf(2*i))
	}
}

// TestClearOnFailingDisk lets the disk fail at each of the writes of a clear, those of its compaction too. It must end, be as good as its word,
// and leave a store that works again.
func TestClearOnFailingDisk(t *testing.T) {
	const records, never = 200, 1 << 40
	for i := range int64(120) {
		n := 1 + i%24 // there are fewer than 24; when they come differs
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			disk := &failingDisk{after: never}
			s, err := pebblestore.OpenFS(t.TempDir(), pebblestore.Options{}, errorfs.Wrap(vfs.Default, disk), retry)
			if err != nil {
				t.Fatal(err)
			}
			defer closeStore(t, s)
			for i := range records {
				put(t, s, keyOf(i), largeRecord(i))
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			disk.writes.Store(never - n)
			cleared := make(chan error, 1)
			go func() {
				_, err := s.Clear(context.Background())
				cleared <- err
			}()
			select {
			case err = <-cleared:
			case <-time.After(20 * time.Second):
				t.Fatal("Clear did not end")
			}
			if err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Clear: %v", err)
			}
			disk.works.Store(true)
			await(t, func() error { return s.Ping(t.Context()) })
			for i := range records {
				if err == nil {
					wantAbsent(t, s, keyOf(i))
				}
			}
			put(t, s, keyOf(1), record(1))
			wantThere(t, s, keyOf(1), record(1))
		})
	}
}

// checkFailure works on the store until it fails with ENOSPC, checks that it can still be read, repairs the disk, waits
// until the store works again, and checks what became of the records.
func checkFailure(t *testing.T, s *pebblestore.Store, repair func()) {
	t.Helper()
	takes, err := workUntilFailure(t, s)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the store failed with %v, want ENOSPC", err)
	}
	_, _, takeErr := s.Take(t.Context(), keyOf(1))
	_, sweepErr := s.Sweep(t.Context())
	_, clearErr := s.Clear(t.Context())
	for _, err := range []error{s.Ping(t.Context()), s.Delete(t.Context(), keyOf(1)), takeErr, sweepErr, clearErr} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a write to a failed store: %v, want ENOSPC", err)
		}
	}
	check := func() {
		t.Helper()
		for i := range takes {
			wantAbsent(t, s, keyOf(2*i))
		}
		// A take that was confirmed confirms all puts before it.
		for i := 1; i < 2*(takes-1); i += 2 {
			wantThere(t, s, keyOf(i), largeRecord(i))
		}
	}
	await(t, func() error { _, _, err := s.Get(t.Context(), keyOf(1)); return err })
	check()
	repair()
	await(t, func() error { return s.Ping(t.Context()) })
	check()
	put(t, s, keyOf(1), record(1))
	wantThere(t, s, keyOf(1), record(1))
}

// workUntilFailure puts large records and takes every other one. It returns how many takes worked.
func workUntilFailure(t *testing.T, s *pebblestore.Store) (takes int, err error) {
	t.Helper()
	for i := range 10_000 {
		if err := s.Put(t.Context(), keyOf(i), largeRecord(i), time.Hour); err != nil {
			return takes, err
		}
		if i%10 == 0 {
			if err := s.Flush(); err != nil {
				return takes, err
			}
		}
		if i%2 == 1 {
			continue
		}
		_, ok, err := s.Take(t.Context(), keyOf(i))
		if err != nil {
			return takes, err
		}
		if !ok {
			t.Fatal("a record that was put is absent")
		}
		takes++
	}
	return takes, nil
}

func largeRecord(i int) []byte { return bytes.Repeat(record(i), 50) }

// await waits until the call returns no error.
func await(t *testing.T, call func() error) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(retry) {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the store does not work again: %v", err)
		}
	}
}

// A failingDisk makes all writes fail from the given one on, until it works.
type failingDisk struct {
	after  int64
	writes atomic.Int64
	works  atomic.Bool
}

func (d *failingDisk) String() string { return "failing disk" }

func (d *failingDisk) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpLock || d.works.Load() {
		return nil
	}
	if d.writes.Add(1) < d.after {
		return nil
	}
	return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
}

// TestSilentDisk lets a write hang. Calls must end with their contexts, and reads must work.
func TestSilentDisk(t *testing.T) {
	disk := &silentDisk{}
	s, err := pebblestore.OpenFS(t.TempDir(), pebblestore.Options{}, errorfs.Wrap(vfs.Default, disk), retry)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	put(t, s, keyOf(1), record(1))
	put(t, s, keyOf(2), record(2))
	within := func(what string, call func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want DeadlineExceeded", what, err)
		}
	}
	disk.mu.Lock()
	within("Take", func(ctx context.Context) error { _, _, err := s.Take(ctx, keyOf(1)); return err })
	for range 20 {
		within("Ping", s.Ping)
	}
	wantAbsent(t, s, keyOf(1)) // the take has begun
	wantThere(t, s, keyOf(2), record(2))
	disk.mu.Unlock()
	await(t, func() error { return s.Ping(t.Context()) })
}

// A silentDisk does not return from a write while its lock is held.
type silentDisk struct{ mu sync.RWMutex }

func (d *silentDisk) String() string { return "silent disk" }

func (d *silentDisk) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		d.mu.RLock()
		defer d.mu.RUnlock()
	}
	return nil
}

// TestFullDisk fills a small file system for true, empties it, and makes it read-only.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("a file system of its own cannot be mounted (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast, dir := filepath.Join(disk, "ballast"), filepath.Join(disk, "store")
	fill(t, ballast, 40<<20)
	s, err := pebblestore.OpenFS(dir, pebblestore.Options{}, vfs.Default, retry)
	if err != nil {
		t.Fatal(err)
	}
	checkFailure(t, s, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})

	closeStore(t, s)

	fill(t, ballast, 100<<20)
	wantOpenError(t, dir, "hint: make room on the disk")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	remount(t, disk, syscall.MS_RDONLY)
	wantOpenError(t, dir, "hint: the folder and all in it must be writable")
	remount(t, disk, 0)
	open(t, dir)
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}

// fill writes a file of n bytes, or as many as there is room for.
func fill(t *testing.T, name string, n int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, n)); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
