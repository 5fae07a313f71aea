// Package pebblestore is the embedded store of Reprise: a folder on the local disk, kept by the Pebble engine, that
// belongs to one process. Sessions in it outlive a restart, kill -9 included, with no server to install. Servers that
// share sessions need a store on the network.
//
// # What a crash leaves
//
// Puts are written to the disk together, twice a second: after kill -9 or a power cut at most the sessions of the last
// second are missing. A record that was taken or deleted stays away: Take and Delete return after the disk has
// confirmed it, and those that come at the same time share one confirmation. No crash damages the store.
//
// Warning: a folder that is restored from a backup brings records back that were taken since. Clear a restored store,
// or change the fleet key.
//
// # When the disk fails
//
// A failed write (the disk is full, or the process is out of file descriptors) never ends the process and never blocks a
// call. The store stops writing at once, so that the folder stays as a crash at this moment would leave it, and opens it
// again for reading: Get and Each go on, Put, Take and Delete return the error. Every few seconds it tries whether the
// disk takes 32 MB, and goes on when it does. The calls of the moment in which it changes over return the error, too.
//
// A damaged block is found by its checksum when it is read; then the records in the range of keys of its file
// are given up, and the others stay: of a large store a few in a hundred, unless the file is a fresh one with a wide
// range. [Open] refuses a folder whose files are missing or cut short.
//
// # Folder
//
// The folder and what is in it belong to one user (0700). It holds:
//
//	REPRISE-STORE   the text "reprise session store 1", the revision of this layout
//	LOCK            locked while a process has the store open
//	all others      files of Pebble, format major version 24 (FormatValueSeparation)
//
// Each record is one entry of Pebble, not compressed, since a sealed record cannot be:
//
//	key    'r' ‖ store key (32)
//	value  revision (1) = 1 ‖ expiry (8), milliseconds since 1970, big-endian ‖ record
//
// A value (see [reprise.Swapper]) is one entry under 'v' ‖ its key (32), as it is.
//
// The expiry is a time of this machine's clock: a step of the clock moves it. The folder never holds the fleet key and
// must not: the records are sealed under it. Deleted records linger in Pebble's files until these are compacted.
package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/workers"
)

// Options are the settings of a [Store]. The zero value is good for a server of up to a few million sessions.
type Options struct {
	// CacheBytes is how much memory Pebble may use for blocks of its files and for records not yet in one. Zero is
	// 32 MiB. The process grows by about twice as much, and 45 MB. Reads that miss go to the page cache of the
	// operating system.
	CacheBytes int64

	// Logger hears when the store fails, works again, or finds damage. If nil, nobody does.
	Logger *slog.Logger
}

var (
	// ErrLocked is the error of [Open] if the folder is open already, in another process or in this one.
	ErrLocked = errors.New("the folder is open already: a store belongs to one process")

	// ErrClosed is the error of every call after Close.
	ErrClosed = errors.New("pebblestore: the store is closed")
)

const (
	defaultCacheBytes = 32 << 20
	// maxCalls is how many calls may be under way at once; more wait. It bounds what a disk that hangs ties up.
	maxCalls = 512
	// retryInterval is the time between attempts to open a failed store again.
	retryInterval = 5 * time.Second
)

// A Store is a [reprise.Store] in a folder. Use [Open] to make one. It implements the optional interfaces of package
// reprise, but for those of stores that nodes share, and [io.Closer].
type Store struct {
	dir     string
	cache   int64
	fs      vfs.FS
	log     *slog.Logger
	retry   time.Duration
	lock    *pebble.Lock
	calls   chan struct{} // a token for each call under way
	keys    stripes
	workers *workers.Pool[func()] // make the calls
	closed  chan struct{}
	tasks   sync.WaitGroup // the goroutine that opens the folder again

	mu     sync.Mutex
	engine *engine // nil while there is none
	err    error   // why there is none
}

// Open opens the store in the folder dir and makes the folder if there is none. It returns an error that says what to
// do if the folder is open in another process ([ErrLocked]), cannot be written, is damaged, or holds something else.
func Open(dir string, options Options) (*Store, error) {
	return open(dir, options, vfs.Default, retryInterval)
}

func open(dir string, options Options, fs vfs.FS, retry time.Duration) (*Store, error) {
	dir, lock, err := prepare(dir, fs)
	if err != nil {
		return nil, openError(dir, err)
	}
	s := &Store{
		dir:    dir,
		cache:  options.CacheBytes,
		fs:     fs,
		log:    options.Logger,
		retry:  retry,
		lock:   lock,
		calls:  make(chan struct{}, maxCalls),
		closed: make(chan struct{}),
	}
	s.workers = workers.New(s.closed, func(f func()) { f() })
	if s.cache <= 0 {
		s.cache = defaultCacheBytes
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	e, err := s.start(nil)
	if err != nil {
		return nil, openError(dir, errors.Join(err, s.lock.Close()))
	}
	s.engine = e
	s.tasks.Go(func() { s.watch(e) })
	return s, nil
}

// Put implements [reprise.Store]. The record is on the disk half a second later at the latest.
func (s *Store) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	if err := checkPut(record, lifetime); err != nil {
		return err
	}
	value := entry{record, expiryAfter(time.Now(), lifetime)}.marshal()
	_, err := call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.put(key, value) })
	return err
}

// checkPut says what Put refuses.
func checkPut(record []byte, lifetime time.Duration) error {
	if lifetime <= 0 {
		return fmt.Errorf("pebblestore: lifetime of %v, it must be more than zero", lifetime)
	}
	if n := len(record); n == 0 || n > reprise.MaxRecordLength {
		return fmt.Errorf("pebblestore: record of %d bytes, it must be 1 to %d", n, reprise.MaxRecordLength)
	}
	return nil
}

// Get implements [reprise.Store].
func (s *Store) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	found, err := call(ctx, s, func(e *engine) (entry, error) { return e.get(key) })
	return found.record, found.alive(time.Now()), err
}

// Take implements [reprise.Store]. It returns after the disk has confirmed the removal; of an absent record it writes
// nothing.
func (s *Store) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	found, err := call(ctx, s, func(e *engine) (entry, error) { return e.remove(key) })
	return found.record, found.alive(time.Now()), err
}

// Delete implements [reprise.Store]. It returns after the disk has confirmed the removal.
func (s *Store) Delete(ctx context.Context, key reprise.StoreKey) error {
	_, err := call(ctx, s, func(e *engine) (entry, error) { return e.remove(key) })
	return err
}

// TakePromise implements [reprise.TakePromiser]: a take is atomic, and durable as long as nobody restores the folder
// from a backup.
func (s *Store) TakePromise() reprise.TakePromise {
	return reprise.TakePromise{Atomic: true, Durable: true}
}

// Ping implements [reprise.Pinger]. It returns after the disk has confirmed a write.
func (s *Store) Ping(ctx context.Context) error {
	_, err := call(ctx, s, func(e *engine) (entry, error) { return entry{}, e.sync() })
	return err
}

// Close ends the calls under way, writes out what is not yet on the disk, and gives the folder free. A second Close does
// nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	e := s.engine
	if errors.Is(s.err, ErrClosed) {
		s.mu.Unlock()
		return nil
	}
	s.engine, s.err = nil, ErrClosed
	s.mu.Unlock()

	close(s.closed)
	s.tasks.Wait()
	var err error
	if e != nil {
		err = e.close()
	}
	return errors.Join(err, s.lock.Close())
}

// An outcome is what a call came to.
type outcome[T any] struct {
	value T
	err   error
}

// call runs f on a goroutine of its own, so that the caller is let go when ctx is done or the store fails, however slow
// the disk is.
func call[T any](ctx context.Context, s *Store, f func(*engine) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	e, err := s.enter()
	if err != nil {
		<-s.calls
		return none, err
	}
	done := make(chan outcome[T], 1)
	s.workers.Do(func() {
		defer func() { e.users.Done(); <-s.calls }()
		defer e.recover()
		v, err := f(e)
		done <- outcome[T]{v, e.failure(err)}
	})
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-e.failed:
		return none, e.failure(nil)
	}
}

// enter returns the engine that is at work. The caller must call its users.Done.
func (s *Store) enter() (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil, s.err
	}
	s.engine.users.Add(1)
	return s.engine, nil
}

// watch waits for e to fail and opens the folder again, and so on until the store is closed.
func (s *Store) watch(e *engine) {
	for e != nil {
		select {
		case <-s.closed:
			return
		case <-e.failed:
		}
		cause := e.failure(nil)
		s.log.Error("session store failed; it writes nothing until the disk takes writes again", "folder", s.dir, "error", cause.Error())
		if !s.swap(nil, cause) {
			return
		}
		if e = s.revive(cause); e != nil {
			s.log.Info("session store works again", "folder", s.dir)
		}
	}
}

// revive opens the folder for reading, and for writing as soon as the disk takes writes. It returns nil if the store is
// closed before.
func (s *Store) revive(cause error) *engine {
	for {
		if reader, err := s.start(cause); err == nil && !s.swap(reader, nil) {
			return nil
		}
		if !s.awaitDisk() || !s.swap(nil, cause) {
			return nil
		}
		writer, err := s.start(nil)
		if err == nil && s.swap(writer, nil) {
			return writer
		}
		if err == nil {
			return nil
		}
		cause = openError(s.dir, err)
	}
}

// awaitDisk waits until the disk takes writes. It returns false if the store is closed before.
func (s *Store) awaitDisk() bool {
	for {
		select {
		case <-s.closed:
			return false
		case <-time.After(s.retry):
		}
		if s.probe() == nil {
			return true
		}
	}
}

// swap puts e in the place of the engine at work, which it closes. If e is nil, calls return err. It returns false, and
// closes e, if the store is closed.
func (s *Store) swap(e *engine, err error) bool {
	s.mu.Lock()
	old, open := e, !errors.Is(s.err, ErrClosed)
	if open {
		old = s.engine
		s.engine, s.err = e, err
	}
	s.mu.Unlock()
	if old != nil {
		_ = old.close() // it says what is known: the store has failed, or is closed
	}
	return open
}
