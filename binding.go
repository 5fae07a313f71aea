package reprise

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise/internal/workers"
)

// Defaults of [StoreOptions].
const (
	// DefaultWriteTimeout is how long a put or a delete of a store may take.
	DefaultWriteTimeout = 2 * time.Second
	// DefaultQueueLength is how many puts may wait to be written.
	DefaultQueueLength = 1 << 15
	// DefaultQueueBytes is how many bytes of records may wait to be written.
	DefaultQueueBytes = 16 << 20
	// DefaultWriters is how many puts are under way at a time, and how many deletes.
	DefaultWriters = 16
)

// StoreOptions are the settings of a [StoreBinding]. The zero value is usable.
type StoreOptions struct {
	// ReadTimeout is how long a get or a take of the store may take. 0 means the [Options.LookupTimeout] of the cache,
	// which bounds what a handshake waits for in any case.
	ReadTimeout time.Duration
	// WriteTimeout is how long a put or a delete may take; no handshake waits for these. 0 means [DefaultWriteTimeout].
	WriteTimeout time.Duration
	// QueueLength is how many puts may wait to be written, and how many deletes. 0 means [DefaultQueueLength]. The queue takes QueueBytes
	// of memory for records, and 400 bytes for each put and delete. A partition of the store that hangs ([Partitioned]) has half of it
	// at most.
	QueueLength int
	// QueueBytes is how many bytes of records may wait to be written. 0 means [DefaultQueueBytes].
	QueueBytes int
	// Writers is how many puts are under way at a time, and how many deletes, in each partition of the store. 0 means [DefaultWriters].
	Writers int
}

// A StoreBinding keeps a [Store] in step with a [Cache], by the cache's callbacks. It is made by [BindStore].
//
// # What is stored
//
// Every new session is sealed under a fleet key and put into the store behind the handshake, within milliseconds ([BatchPutter]). A
// session that is not in the internal cache is got from there. A session for single use is taken from there before it is
// resumed. A session that was removed for good ([Removal.Final]) is deleted there; one that was evicted, has expired, was
// flushed, or is let go by a cache that closes, is not: a clean restart must not empty the fleet's store.
//
// Of IDs that no fleet key has made the store never hears, unless the application makes IDs itself ([Cache.SetGenerateID]):
// then an ID must have at least 16 bytes to be stored, and is looked for under each fleet key. Sessions with shorter
// ones stay in the internal cache, and can't be for single use.
//
// # When the store fails
//
// A store never fails a handshake. An error is a full handshake. After five failed reads in a row the store is not asked any more,
// and probed after 50 ms, then less often, at last twice a second; handshakes then go on in full without delay, and writes wait in the queue, from
// which they are also read. What the queue has no room for is dropped and counted: a session whose put was dropped resumes
// from the internal cache only, and not at all if it is for single use. If the store is [Partitioned], all this goes for each partition by
// itself. A put that fails is not tried again, because it may
// have been carried out, and the session been taken or deleted elsewhere meanwhile. A delete is tried until it
// succeeds.
//
// # Clocks
//
// Stores are told lifetimes, not times. A session's own times are those of the node that made it, so on a node whose
// clock is ahead it ends earlier by the difference, and on one whose clock is behind and that has it in its internal cache later.
// Clocks may differ by an hour: a session that was made further in the future does not resume. Early data are refused from a difference
// of 10 seconds on; nodes with a store that is [Clocked] compare their clocks with the store's ([Cache.MayAcceptEarlyData]).
type StoreBinding struct {
	cache      *Cache
	store      Store
	incarnated Incarnated // nil if the store is not
	notices    noticeCounts

	revocations *revocationLog // nil if the store keeps none
	logger      *slog.Logger
	partitions  partitions
	calls       storeCalls
	queue       writeBehind
	foreign     foreignRate
	counts      bindingCounts
	closed      atomic.Bool

	clockDiffered atomic.Bool // from the store's, at some time

	cancel   context.CancelFunc
	sweeping sync.WaitGroup
}

type bindingCounts struct {
	unsealed, damaged, swept atomic.Uint64
}

// BindStore makes a cache and a store keep in step: it sets the cache's new, remove, get and take callbacks. It returns
// an error if one of them is set already, or if the cache has no fleet keys of [Options.Keys] but one of its own, which no
// record would outlive. Callbacks that are set later, around those of the binding or instead of them, are the caller's affair.
//
// A store that is a [Sweeper] is swept once a minute. Of one that is a [Swapper] BindStore reads what was revoked; if the store does not
// answer, that delays it by the WriteTimeout. [StoreBinding.Close] ends the binding; the store is the caller's to close, after it.
func BindStore(c *Cache, s Store, o StoreOptions) (*StoreBinding, error) {
	if c.Keys().private {
		return nil, errors.New("reprise: a store needs fleet keys; set Options.Keys")
	}
	b := &StoreBinding{cache: c, store: s, logger: c.logger}
	b.incarnated, _ = s.(Incarnated)

	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.calls.store = s
	b.calls.incarnated = b.incarnated
	b.calls.batchGetter, _ = s.(BatchGetter)
	b.calls.logger = c.logger
	b.calls.ctx = ctx
	b.calls.waitedFor = make(map[*storeCall]struct{})
	b.calls.workers = workers.New(ctx.Done(), (*storeCall).run)
	b.calls.readTimeout = positiveOr(o.ReadTimeout, c.options.LookupTimeout)
	b.calls.writeTimeout = positiveOr(o.WriteTimeout, DefaultWriteTimeout)
	b.calls.partitions = &b.partitions
	b.queue.calls = &b.calls
	b.queue.partitions = &b.partitions
	b.queue.now = c.options.Now
	b.queue.seal = b.seal
	b.queue.maxLength = positiveOr(o.QueueLength, DefaultQueueLength)
	b.queue.maxBytes = positiveOr(o.QueueBytes, DefaultQueueBytes)
	if batches, ok := s.(BatchPutter); ok {
		b.queue.batchDelay = batches.BatchDelay()
	}
	b.queue.maxWorkers = positiveOr(o.Writers, DefaultWriters)
	b.queue.entries = make(map[StoreKey]*writeEntry)
	b.queue.lookups = make(map[StoreKey]*storeLookup)
	b.queue.late = make(latePuts)
	b.queue.hurry = make(chan struct{})
	b.queue.goroutines = workers.New(ctx.Done(), (*writeLane).work)
	b.partitions.init(s, b.calls.reportPanic, func(name string) *partition { return b.newPartition(ctx, name) })

	if err := b.setCallbacks(); err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, b.calls.giveUp)
	if swapper, ok := s.(Swapper); ok {
		b.bindRevocations(ctx, swapper)
	}
	if sweeper, ok := s.(Sweeper); ok {
		b.sweeping.Go(func() { b.sweepEachMinute(ctx, sweeper) })
	}
	if notifier, ok := s.(Notifier); ok {
		b.follow(ctx, notifier)
	}
	return b, nil
}

// bindRevocations makes the cache heed what the store has of revocations.
func (b *StoreBinding) bindRevocations(ctx context.Context, s Swapper) {
	b.calls.swapper = s
	b.revocations = newRevocationLog(storeValues{&b.calls}, b.cache.Keys, b.cache.now, b.logger)
	b.cache.revocations.Store(b.revocations)
	_ = b.revocations.sync(ctx, b.calls.writeTimeout) // it is tried again
	b.sweeping.Go(func() { b.revocations.follow(ctx, b.calls.writeTimeout) })
}

func positiveOr[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

func (b *StoreBinding) setCallbacks() error {
	c := b.cache
	for {
		old := c.callbacks.Load()
		if old.newSession != nil || old.remove != nil || old.get != nil || old.take != nil {
			return errors.New("reprise: the cache has callbacks already; bind the store first, or unset them")
		}
		if _, ok := b.store.(Notifier); ok {
			c.internal.residents.begin(b.tagOf) // before a session is put
		}
		bound := *old
		bound.newSession, bound.remove, bound.get, bound.take = b.announced, b.removed, b.get, b.take
		bound.promise = b.TakePromise()
		bound.begin = b.begin
		if _, ok := b.store.(Clocked); ok {
			bound.agreesOnTime = b.agreesOnTime
		}
		if c.callbacks.CompareAndSwap(old, &bound) {
			return nil
		}
	}
}

// announced is the new callback.
func (b *StoreBinding) announced(_ *Cache, s *Session) (keep bool) {
	now := b.cache.options.Now()
	key := b.keyOfNew(s, now)
	if key == nil {
		b.counts.unsealed.Add(1)
		return true
	}
	if s.Expiry().After(now) {
		b.queue.put(storeKeyOf(s, key), unsealed{s, key})
	}
	return true
}

// seal makes the record of a session that was announced.
func (b *StoreBinding) seal(key StoreKey, u unsealed) []byte {
	return u.key.seal(u.session, b.incarnation(key))
}

// removed is the remove callback.
func (b *StoreBinding) removed(_ *Cache, s *Session, why Removal, _ bool) {
	if !why.Final() || why == RemovedUsed && s.SingleUse() { // the latter is gone already, by its take
		return
	}
	for _, key := range b.openingKeys(s.id) {
		b.queue.delete(key.storeKey(s.id))
	}
}

// get is the get callback.
func (b *StoreBinding) get(ctx context.Context, id SessionID) (*Session, error) {
	g := b.beginGet(id)
	if g == nil {
		if ctx.Value(mayBeRandomKey{}) == nil {
			b.foreign.note(b.cache.options.Now(), b.logger)
		}
		return nil, nil
	}
	return g.session(func(time.Time) context.Context { return ctx })
}

// begin begins what get waits for, at the moment.
func (b *StoreBinding) begin(id SessionID, since moment) pendingGet {
	g := b.beginGet(id)
	if g == nil {
		return nil
	}
	g.since = since
	return g
}

// beginGet returns nil for a foreign ID.
func (b *StoreBinding) beginGet(id SessionID) *bindingGet {
	keys := b.openingKeys(id)
	if len(keys) == 0 {
		return nil
	}
	g := &bindingGet{binding: b, id: id, gets: make([]keyGet, len(keys))}
	for i, key := range keys {
		one := &g.gets[i]
		one.key, one.storeKey = key, key.storeKey(id)
		one.queued, one.err = b.queue.get(one.storeKey)
	}
	return g
}

// A bindingGet is a get callback of a binding under way.
type bindingGet struct {
	binding *StoreBinding
	id      SessionID
	since   moment
	gets    []keyGet // for each fleet key that the record may be under
}

// A keyGet is the get of a record under one fleet key.
type keyGet struct {
	key      *fleetKey
	storeKey StoreKey
	queued   queuedGet
	err      error // there is none
}

// wait implements [pendingGet].
func (g *bindingGet) wait(external contextFunc) answer {
	cache := g.binding.cache
	s, err := func() (s *Session, err error) {
		defer cache.guard("get", &err)
		return g.session(external)
	}()
	return cache.gotten(g.id, g.since, s, err)
}

// session waits for the session.
func (g *bindingGet) session(external contextFunc) (*Session, error) {
	for i := range g.gets {
		one := &g.gets[i]
		if one.err != nil {
			return nil, one.err
		}
		found, err := one.queued.wait(external)
		if err != nil {
			return nil, err
		}
		if s := g.open(one, found); s != nil {
			return s, nil
		}
	}
	return nil, nil
}

// open returns the session that was found, nil if it can't be resumed.
func (g *bindingGet) open(one *keyGet, found stored) *Session {
	b := g.binding
	s, incarnation := b.open(one.key, one.storeKey, g.id, found)
	if s == nil {
		return nil
	}
	if s.SingleUse() && incarnation != b.incarnation(one.storeKey) {
		b.calls.stale.Add(1)
		return nil
	}
	s.residence.tag = one.storeKey.tag()
	return s
}

// take is the take callback. That there was a record is not enough: it must be the session's own.
func (b *StoreBinding) take(ctx context.Context, s *Session) (taken bool, err error) {
	for _, key := range b.openingKeys(s.id) {
		storeKey := key.storeKey(s.id)
		found, err := b.queue.take(ctx, storeKey)
		if err != nil {
			return false, err
		}
		if stored, _ := b.open(key, storeKey, s.id, found); stored != nil {
			return sameSecret(stored, s), nil
		}
	}
	return false, nil
}

// open returns the session that was found under the store key of id, and the life of the store that its record was made
// in. The session is nil if it is not to be had from what was found.
func (b *StoreBinding) open(key *fleetKey, storeKey StoreKey, id SessionID, found stored) (s *Session, incarnation uint64) {
	if found.session != nil {
		queued := *found.session // which others have
		return &queued, b.incarnation(storeKey)
	}
	if found.record == nil {
		return nil, 0
	}
	s, header, err := key.open(id, found.record)
	if err != nil {
		b.counts.damaged.Add(1)
		return nil, 0
	}
	return s, header.Incarnation
}

// sameSecret reports whether two sessions of one ID are the same one. IDs of an application can be used again.
func sameSecret(a, b *Session) bool {
	return subtle.ConstantTimeCompare(a.secret[:], b.secret[:]) == 1 && a.profile.opaque == b.profile.opaque
}

// incarnation returns the present life of the part of the store that a record is in, 0 if the store has but one.
func (b *StoreBinding) incarnation(key StoreKey) (life uint64) {
	if b.incarnated == nil {
		return 0
	}
	defer b.calls.guard("incarnation", nil) // after a panic it is 0, as of no record
	return b.incarnated.Incarnation(key)
}

// minGeneratedID is the length in bytes of the shortest ID of an application's own generator that a record is sealed
// under: what seals the record from a store's reader who has the fleet key is the ID.
const minGeneratedID = 16

// keyOfNew is sealingKey for a session that was made here.
func (b *StoreBinding) keyOfNew(s *Session, now time.Time) *fleetKey {
	if s.madeUnder != nil && slices.Contains(b.cache.Keys().keys, s.madeUnder) {
		return s.madeUnder
	}
	return b.sealingKey(s.id, now)
}

// storeKeyOf returns the store key of a session under a fleet key.
func storeKeyOf(s *Session, under *fleetKey) StoreKey {
	if s.madeUnder == under && s.storeKey != (StoreKey{}) {
		return s.storeKey
	}
	return under.storeKey(s.id)
}

// sealingKey returns the fleet key for the record of a new session, nil if it must not be stored.
func (b *StoreBinding) sealingKey(id SessionID, now time.Time) *fleetKey {
	keys := b.cache.Keys()
	if key := keys.keyOf(id); key != nil {
		return key
	}
	if b.generated(id) {
		return keys.current(now)
	}
	return nil
}

// openingKeys returns the fleet keys that the record of a session can be sealed under: the one that has made the ID;
// all of them if the application makes IDs; none if the ID is foreign.
func (b *StoreBinding) openingKeys(id SessionID) []*fleetKey {
	keys := b.cache.Keys()
	if made := keys.made(id); made != nil {
		return made
	}
	if b.generated(id) {
		return keys.keys
	}
	return nil
}

// generated reports whether an ID that no fleet key has made can be the application's own.
func (b *StoreBinding) generated(id SessionID) bool {
	return id.length >= minGeneratedID && b.cache.GenerateID() != nil
}

// newPartition makes a partition of the store. ctx ends with the binding.
func (b *StoreBinding) newPartition(ctx context.Context, name string) *partition {
	p := &partition{name: name}
	p.breaker.ctx = ctx
	p.breaker.probe = func() error { return b.calls.probe(p) }
	p.breaker.changed = func(to BreakerState, why error) { b.breakerChanged(p, to, why) }
	p.puts.queue, p.deletes.queue = &b.queue, &b.queue
	p.puts.partition, p.deletes.partition = p, p
	return p
}

func (b *StoreBinding) breakerChanged(p *partition, to BreakerState, why error) {
	logger := b.logger
	if p.name != "" {
		logger = logger.With("partition", p.name)
	}
	if to == BreakerOpen {
		logger.Warn("reprise: store does not answer; handshakes go on in full until it does", "error", why)
	} else {
		logger.Info("reprise: store answers again")
	}
}

// TakePromise says how far the store's take can be trusted. That of an [Incarnated] store is as good as durable: what comes
// back after it was taken is of another life of the store, and does not resume.
func (b *StoreBinding) TakePromise() (p TakePromise) {
	if promiser, ok := b.store.(TakePromiser); ok {
		p = promiser.TakePromise()
	}
	p.Durable = p.Durable || b.incarnated != nil
	return p
}

// Delete deletes a record, after what was asked for before. A lookup of it that is under way finds nothing. The store
// may hear of it later than Delete returns: [StoreBinding.Flush] waits. A session that is resident is not removed; use
// [Cache.Remove] for those. The error says that the queue of deletes is full, or the binding was closed.
func (b *StoreBinding) Delete(key StoreKey) error {
	if !b.queue.delete(key) {
		return fmt.Errorf("%w: no room for a delete", ErrStoreUnavailable)
	}
	return nil
}

// Flush waits until nothing is left of what is to be written to the store when it is called, or ctx is done; the error then says how
// much is to be written.
func (b *StoreBinding) Flush(ctx context.Context) error { return b.queue.flush(ctx) }

// Close unsets the cache's new, remove, get and take callbacks, writes what is queued until ctx is done, and ends the binding. The error
// says how many puts and deletes were lost. The store stays open. Connections should have ended before: what
// they remove after Close stays in the store. Close may be called more than once.
func (b *StoreBinding) Close(ctx context.Context) error {
	if b.closed.Swap(true) {
		return nil
	}
	b.cache.updateCallbacks(func(s *callbacks) { *s = callbacks{generateID: s.generateID} })
	failedBefore := b.queue.refuse()
	err := b.queue.flush(ctx)
	if failed := b.Stats().PutsFailed - failedBefore; err == nil && failed > 0 {
		err = fmt.Errorf("reprise: the store has not taken %d of the last puts", failed)
	}
	b.cancel()
	b.queue.stop()
	b.partitions.end()
	b.sweeping.Wait()
	b.cache.internal.residents.end()
	return err
}
