package storetest

import (
	"context"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A double is a memory store whose calls can be replaced one by one.
type double struct {
	memory.Store
	put       func(context.Context, reprise.StoreKey, []byte, time.Duration) error
	batch     putBatchOf
	get, take lookup
	getBatch  getBatch
	delete    func(context.Context, reprise.StoreKey) error
	each      func(context.Context, func(reprise.StoreKey, []byte, time.Time) bool) error
	count     func(context.Context) (int, error)
	sweep     func(context.Context) (int, error)
	ping      func(context.Context) error
	clear     func(context.Context) (int, error)
	value     func(context.Context, reprise.StoreKey) ([]byte, error)
	swap      func(context.Context, reprise.StoreKey, []byte, []byte) (bool, error)

	second  func() reprise.Store
	restart func() reprise.Store

	partition func() string
	volatile  bool          // takes are not durable
	life      func() uint64 // of each take; nil: always 1
	clock     func() (time.Time, bool)
	notices   chan reprise.Notice
}

func (d *double) Incarnation(reprise.StoreKey) uint64 { return 1 }

func (d *double) TakeIncarnated(ctx context.Context, key reprise.StoreKey) ([]byte, uint64, bool, error) {
	record, ok, err := d.Take(ctx, key)
	if d.life != nil {
		return record, d.life(), ok, err
	}
	return record, 1, ok, err
}

func (d *double) Clock(reprise.StoreKey) (time.Time, bool) {
	if d.clock != nil {
		return d.clock()
	}
	return time.Now(), true
}

// Notices tells what is put into d.notices.
func (d *double) Notices(ctx context.Context, f func(reprise.Notice)) {
	for {
		select {
		case n := <-d.notices:
			f(n)
		case <-ctx.Done():
			return
		}
	}
}

// newTelling returns a double that tells of deletes and takes.
func newTelling() *double {
	d := &double{notices: make(chan reprise.Notice, 100)}
	d.notices <- reprise.Notice{Kind: reprise.NoticesFollow}
	tell := func(key reprise.StoreKey) { d.notices <- reprise.Notice{Kind: reprise.NoticeRemoved, Key: key} }
	d.delete = func(ctx context.Context, key reprise.StoreKey) error {
		defer tell(key)
		return d.Store.Delete(ctx, key)
	}
	d.take = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		defer tell(key)
		return d.Store.Take(ctx, key)
	}
	return d
}

func (d *double) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	if d.put != nil {
		return d.put(ctx, key, record, lifetime)
	}
	return d.Store.Put(ctx, key, record, lifetime)
}

func (d *double) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
	if d.batch != nil {
		d.batch(ctx, puts, done)
		return
	}
	d.putEach(ctx, puts, done)
}

func (d *double) putEach(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
	for i, p := range puts {
		done(i, d.Put(ctx, p.Key, p.Record, p.Lifetime))
	}
}

func (d *double) Partition(reprise.StoreKey) string {
	if d.partition != nil {
		return d.partition()
	}
	return ""
}

func (d *double) BatchDelay() time.Duration { return 10 * time.Millisecond }

func (d *double) GetBatch(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
	if d.getBatch != nil {
		d.getBatch(ctx, keys, done)
		return
	}
	d.getEach(ctx, keys, done)
}

func (d *double) getEach(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
	for i, key := range keys {
		record, _, err := d.Get(ctx, key)
		done(i, record, err)
	}
}

func (d *double) Get(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	if d.get != nil {
		return d.get(ctx, key)
	}
	return d.Store.Get(ctx, key)
}

func (d *double) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	if d.take != nil {
		return d.take(ctx, key)
	}
	return d.Store.Take(ctx, key)
}

func (d *double) Delete(ctx context.Context, key reprise.StoreKey) error {
	if d.delete != nil {
		return d.delete(ctx, key)
	}
	return d.Store.Delete(ctx, key)
}

func (d *double) Each(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
	if d.each != nil {
		return d.each(ctx, f)
	}
	return d.Store.Each(ctx, f)
}

func (d *double) Count(ctx context.Context) (int, error) {
	if d.count != nil {
		return d.count(ctx)
	}
	return d.Store.Count(ctx)
}

func (d *double) Sweep(ctx context.Context) (int, error) {
	if d.sweep != nil {
		return d.sweep(ctx)
	}
	return d.Store.Sweep(ctx)
}

func (d *double) Ping(ctx context.Context) error {
	if d.ping != nil {
		return d.ping(ctx)
	}
	return d.Store.Ping(ctx)
}

func (d *double) Clear(ctx context.Context) (int, error) {
	if d.clear != nil {
		return d.clear(ctx)
	}
	return d.Store.Clear(ctx)
}

func (d *double) Value(ctx context.Context, key reprise.StoreKey) ([]byte, error) {
	if d.value != nil {
		return d.value(ctx, key)
	}
	return d.Store.Value(ctx, key)
}

func (d *double) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
	if d.swap != nil {
		return d.swap(ctx, key, old, value)
	}
	return d.Store.SwapValue(ctx, key, old, value)
}

func (d *double) TakePromise() reprise.TakePromise {
	return reprise.TakePromise{Atomic: true, Durable: !d.volatile}
}

func (d *double) node() reprise.Store {
	if d.second != nil {
		return d.second()
	}
	return d
}

func (d *double) restarted() reprise.Store {
	if d.restart != nil {
		return d.restart()
	}
	return d
}
