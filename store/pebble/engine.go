package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/reprise-tls/reprise"
)

const (
	// syncInterval is how often puts are written to the disk.
	syncInterval = 500 * time.Millisecond
	// maxDamage is how many reports of damage may wait.
	maxDamage = 64
)

// An engine is the database while it is open. It lives from start to its failure or to the end of the store.
type engine struct {
	db      *pebble.DB
	refusal error // why nothing can be written, or nil
	keys    *stripes
	log     *slog.Logger
	guard   *guard
	users   sync.WaitGroup // calls under way
	tasks   sync.WaitGroup // goroutines of the engine
	stop    chan struct{}
	dirty   atomic.Bool // there are puts to sync
	census  census

	damage chan *pebble.DataCorruptionInfo

	once   sync.Once
	failed chan struct{} // closed by the first failure
	cause  error         // set before failed is closed
}

// stripes are locks for keys: one for all keys with the same first byte. Keys are random.
type stripes [256]sync.Mutex

// start opens the database in the folder, which is locked. With a reason not to write it opens it for reading.
func (s *Store) start(refusal error) (*engine, error) {
	e := &engine{
		refusal: refusal,
		keys:    &s.keys,
		log:     s.log,
		stop:    make(chan struct{}),
		failed:  make(chan struct{}),
		damage:  make(chan *pebble.DataCorruptionInfo, maxDamage),
	}
	e.guard = newGuard(s.fs, e.fail)
	if refusal != nil {
		e.guard.freeze()
	}
	db, err := pebble.Open(s.dir, e.options(s))
	if e.failure(nil) != nil { // hidden from Pebble, which may have opened the database all the same
		if db != nil {
			err = db.Close()
		}
		return nil, errors.Join(e.cause, err)
	}
	if err != nil {
		return nil, err
	}
	e.db = db
	if refusal == nil {
		e.tasks.Go(e.syncPuts)
		e.tasks.Go(e.cutDamage)
	}
	return e, nil
}

// memTableSize is how many bytes of puts are sorted in memory before they become a table. With Pebble's 4 MiB a put costs twice the CPU time
// (docs/decisions/0002-embedded-store.md).
const memTableSize = 16 << 20

// options returns the settings of Pebble. Not set here means its default.
func (e *engine) options(s *Store) *pebble.Options {
	o := &pebble.Options{
		FS:                    e.guard,
		Lock:                  s.lock,
		ReadOnly:              e.refusal != nil,
		FormatMajorVersion:    pebble.FormatValueSeparation,
		CacheSize:             s.cache,
		MemTableSize:          memTableSize,
		FlushDelayDeleteRange: time.Second, // after Clear
		Logger:                logger{e},
		EventListener: &pebble.EventListener{
			BackgroundError: e.backgroundError,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { e.damaged(&info) },
		},
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// put stores a marshaled entry. It returns before the disk has it.
func (e *engine) put(key reprise.StoreKey, value []byte) error {
	if e.refusal != nil {
		return e.refusal
	}
	mu := &e.keys[key[0]]
	mu.Lock()
	defer mu.Unlock()
	e.census.add(unmarshal(value).expiry)
	err := e.db.Set(makeKey(key), value, pebble.NoSync)
	e.dirty.Store(true)
	return err
}

// get returns the entry of key, or the zero entry. An entry that the engine knows to be damaged is absent.
func (e *engine) get(key reprise.StoreKey) (entry, error) {
	value, closer, err := e.db.Get(makeKey(key))
	if errors.Is(err, pebble.ErrNotFound) || pebble.IsCorruptionError(err) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	defer closer.Close()
	return unmarshal(bytes.Clone(value)), nil
}

// remove deletes the entry of key and returns it. It returns after the disk has the deletion.
func (e *engine) remove(key reprise.StoreKey) (entry, error) {
	if e.refusal != nil {
		return entry{}, e.refusal
	}
	batch := e.db.NewBatch()
	defer batch.Close()
	found, err := e.removeUnsynced(key, batch)
	if err != nil || batch.Empty() {
		return entry{}, err
	}
	if err := batch.SyncWait(); err != nil {
		return entry{}, err
	}
	return found, nil
}

// removeUnsynced is remove up to the wait for the disk: from then on nobody finds the entry.
func (e *engine) removeUnsynced(key reprise.StoreKey, batch *pebble.Batch) (entry, error) {
	mu := &e.keys[key[0]]
	mu.Lock()
	defer mu.Unlock()
	found, err := e.get(key)
	if err != nil || found.record == nil {
		return entry{}, err
	}
	if err := batch.Delete(makeKey(key), nil); err != nil {
		return entry{}, err
	}
	return found, e.db.ApplyNoSyncWait(batch, pebble.Sync)
}

// sync returns after the disk has all that was written before.
func (e *engine) sync() error {
	if e.refusal != nil {
		return e.refusal
	}
	return e.db.LogData(nil, pebble.Sync)
}

// clear removes all records and values. It returns after the disk has the removal.
func (e *engine) clear(ctx context.Context) error {
	if e.refusal != nil {
		return e.refusal
	}
	for _, prefix := range []byte{valuePrefix, recordPrefix} {
		if err := e.db.DeleteRange([]byte{prefix}, []byte{prefix + 1}, pebble.Sync); err != nil {
			return err
		}
	}
	// Left to itself, Pebble gives the room back some time. If ctx ends first, that must do.
	ctx, cancel := e.untilFailure(ctx)
	defer cancel()
	if err := e.db.Compact(ctx, allRecords.Start, allRecords.End, false); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// untilFailure returns a context that ends when the engine fails, too: Pebble then tries a compaction again and again.
func (e *engine) untilFailure(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-e.failed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// syncPuts syncs what was put, until the engine is stopped.
func (e *engine) syncPuts() {
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-ticker.C:
		}
		if !e.dirty.Swap(false) {
			continue
		}
		if err := e.sync(); err != nil {
			e.fail(err)
		}
	}
}

// close waits for the calls under way and closes the database. No call may begin any more.
func (e *engine) close() error {
	e.users.Wait()
	close(e.stop)
	e.tasks.Wait()
	return e.failure(e.db.Close())
}

// fail ends the engine's work: nothing more is written, and all calls return err. Only the first failure counts.
func (e *engine) fail(err error) {
	e.once.Do(func() {
		e.cause = err
		e.guard.freeze()
		close(e.failed)
	})
}

// recover makes a failure of a panic. No caller could: the panic is not on its goroutine.
func (e *engine) recover() {
	if p := recover(); p != nil {
		e.fail(fmt.Errorf("panic: %v", p))
	}
}

// failure returns what the engine failed from, or err if it did not fail.
func (e *engine) failure(err error) error {
	select {
	case <-e.failed:
		return fmt.Errorf("pebblestore: the store has failed: %w", e.cause)
	default:
		return err
	}
}

// backgroundError hears of a flush or compaction that failed. Since the guard hides failed writes, it was a read.
func (e *engine) backgroundError(err error) {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		e.damaged(info)
		return
	}
	e.fail(err)
}

// damaged hears of a damaged file. It must not block: it is called under locks of Pebble. What does not fit into the
// queue is dropped, and reported again when the file is read again.
func (e *engine) damaged(info *pebble.DataCorruptionInfo) {
	select {
	case e.damage <- info:
	default:
	}
}

// cutDamage cuts damaged files out of the database, until the engine is stopped. Else Pebble would try to compact them
// again and again, and no sweep would get past them. What other files have of the same keys goes with them, so that no
// older state comes to light.
func (e *engine) cutDamage() {
	seen := make(map[string]bool)
	for {
		select {
		case <-e.stop:
			return
		case info := <-e.damage:
			name := info.Path + info.Bounds.String()
			if !seen[name] && e.failure(nil) == nil {
				seen[name] = true
				e.cut(info)
			}
		}
	}
}

// cut removes all keys between the first and the last one of a damaged file.
func (e *engine) cut(info *pebble.DataCorruptionInfo) {
	e.log.Error("session store: a file is damaged; the records in its range of keys are given up",
		"file", info.Path, "error", info.Details.Error())
	keys := pebble.KeyRange{Start: info.Bounds.Start, End: append(bytes.Clone(info.Bounds.End.Key), 0)}
	if err := e.db.Excise(context.Background(), keys); err != nil {
		e.fail(fmt.Errorf("%s is damaged and cannot be cut out: %w", info.Path, err))
	}
}

// A logger is where Pebble writes messages.
type logger struct{ engine *engine }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.engine.log.Warn("session store: " + fmt.Sprintf(format, args...))
}

// Fatalf hears of what Pebble cannot go on from. Pebble expects that the process ends. It may go on here, since nothing
// that it does reaches the disk or a caller any more.
func (l logger) Fatalf(format string, args ...any) {
	l.engine.fail(fmt.Errorf(format, args...))
}
