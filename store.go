package reprise

import (
	"context"
	"time"
)

// A StoreKey names a record in a [Store]. It is derived from the session ID under the fleet key; a store never sees an ID.
type StoreKey [32]byte

// A Store keeps opaque records under random 32-byte keys. It is what backends implement; package storetest checks
// that they do it right.
//
//   - All methods may be called from many goroutines at once.
//   - Methods return when ctx is done, with an error. A write that ends in an error has an unknown outcome.
//   - Errors are logged: none has a key, a record or a password in it.
//   - A store owns no slice: it keeps no reference to record after Put has returned, and the caller may change what
//     Get and Take return.
//   - A record that is past its lifetime is absent, whether or not it was swept yet.
//   - An absent record is not an error. An error means that the store failed, and nothing about the record.
//   - A record that the backend can tell is damaged is absent.
//   - Records are between 1 and [MaxRecordLength] bytes; a store may refuse others with an error.
type Store interface {
	// Put stores record under key, replacing what was there, for lifetime from now, as one atomic step together with
	// the lifetime. A lifetime of zero or less is an error. Lifetimes are relative because clocks of nodes differ; a
	// store may round up to its own resolution, a second at most, and never down to nothing.
	Put(ctx context.Context, key StoreKey, record []byte, lifetime time.Duration) error

	// Get returns the record under key and leaves it there. ok is false if there is none.
	Get(ctx context.Context, key StoreKey) (record []byte, ok bool, err error)

	// Take returns the record under key and deletes it, in one atomic step: of any number of concurrent takers of a
	// key, at most one gets the record. ok is false if there is none. How far the promise holds, [TakePromiser] says.
	Take(ctx context.Context, key StoreKey) (record []byte, ok bool, err error)

	// Delete removes the record under key. It is no error if there is none.
	Delete(ctx context.Context, key StoreKey) error
}

// MaxRecordLength is the length in bytes of the longest record that a [Store] must accept: a session with a long
// client chain.
const MaxRecordLength = 64 << 10

// A TakePromise says how far a store's [Store.Take] can be trusted.
type TakePromise struct {
	// Atomic: of concurrent takers one wins, from whichever node they come.
	Atomic bool
	// Durable: a record that was taken stays taken, after a crash, a restart, a restore and a failover.
	Durable bool
}

// A TakePromiser is a store that says how far its take can be trusted. Of one that does not, neither part is assumed.
type TakePromiser interface {
	TakePromise() TakePromise
}

// A BatchPutter is a store that puts several records together for less than one by one.
type BatchPutter interface {
	// PutBatch does what as many calls of Put do, in any order; no two of the puts have the same key. It tells the outcome of each by a
	// call of done with the place of the put, as soon as it is known, so that what delays or fails one put need not be felt by
	// others. done may be called by many goroutines at once, but not after PutBatch has returned.
	PutBatch(ctx context.Context, puts []StorePut, done func(i int, err error))

	// BatchDelay returns how long a put may wait for others to make a batch, always the same and more than zero. What waits is
	// lost in a crash, and other nodes do not have it yet: where they share the store, it is less than a client takes to come
	// to one of them.
	BatchDelay() time.Duration
}

// A StorePut is one put of a batch: the arguments of [Store.Put].
type StorePut struct {
	// Key is the key of the record.
	Key StoreKey
	// Record is what is put. Nobody changes it any more, so that a store need not copy it.
	Record []byte
	// Lifetime counts from now and is more than zero.
	Lifetime time.Duration
}

// A BatchGetter is a store that gets several records together for less than one by one.
type BatchGetter interface {
	// GetBatch does what as many calls of Get do; keys may repeat. It tells the outcome of each by a call of done with the place of
	// the key, as soon as it is known, so that what delays or fails one get need not be felt by others; the record is nil if
	// there is none. done may be called by many goroutines at once, but not after GetBatch has returned.
	GetBatch(ctx context.Context, keys []StoreKey, done func(i int, record []byte, err error))
}

// A Partitioned store has partitions that fail one by one, as the primaries of a cluster do. A partition that fails is left alone by
// itself, and what is to be written to others does not wait for it.
type Partitioned interface {
	// Partition returns the name of the partition that key is in, as far as this node has heard, and "" if it has not heard. It does not
	// block. A name is short, and shown to operators.
	Partition(key StoreKey) string
}

// An Incarnated store numbers its lives: the number changes whenever records that were taken or deleted may have come back,
// as after a crash, a restore or a failover of a store whose take is not durable. A session for single use does not
// resume from a record that was made in another life. The parts of a store that fail one by one, as the shards of a
// cluster do, have lives of their own.
type Incarnated interface {
	// Incarnation returns the number of the present life of the part that key is in, as far as this node has heard. It does not
	// block. If nothing was heard yet it returns a number that no life has, and that is not zero.
	Incarnation(key StoreKey) uint64

	// TakeIncarnated is [Store.Take], and returns the number of the life in which the record was taken. That is never an
	// earlier one, even if this node has not heard of a change yet.
	TakeIncarnated(ctx context.Context, key StoreKey) (record []byte, incarnation uint64, ok bool, err error)
}

// A Notifier is a store that tells of removals, whichever node or tool makes them, so that a node does not go on resuming from
// its internal cache what others have removed.
type Notifier interface {
	// Notices tells what happens from now on, until ctx is done. It calls f from one goroutine at a time, in order, and soon: how
	// soon at the latest a backend documents, for the loss of its connection too.
	Notices(ctx context.Context, f func(Notice))
}

// A Notice is what a [Notifier] tells.
type Notice struct {
	// Kind says what happened.
	Kind NoticeKind
	// Key is the key of the record, of [NoticeRemoved], or of the value, of [NoticeSwapped].
	Key StoreKey
}

// A NoticeKind says what a [Notice] is about.
type NoticeKind uint8

const (
	// NoticeRemoved: the record was removed, or may have been: it may also have been replaced, or have expired. Notices of what
	// this node has put, taken or deleted itself may come too, except for one of a put that would follow the put's own return.
	NoticeRemoved NoticeKind = iota
	// NoticeSwapped: the value under Key, of a store that is a [Swapper] too, was changed, or may have been. It need not be told: nodes
	// read values once a second anyway.
	NoticeSwapped
	// NoticesFollow: every removal that happens from now on is told. It comes first, and after each NoticesLost.
	NoticesFollow
	// NoticesLost: removals may be missed. None is told until NoticesFollow comes.
	NoticesLost
)

// A Clocked store has a clock of its own, as a server has. Nodes that share it know nothing of each other's clocks, and compare theirs
// with this one, where early data depend on it ([Cache.MayAcceptEarlyData]).
type Clocked interface {
	// Clock returns what the clock of the part of the store that key is in shows now, to a second, and false if that is not known
	// at present. It does not block.
	Clock(key StoreKey) (now time.Time, ok bool)
}

// A Swapper is a store that keeps a few values beside its records, of [MaxRecordLength] at most and without a lifetime. What is in
// them concerns all nodes, such as what was revoked. They are no records: no other method shows, counts or changes them, but
// [Clearer] clears them too.
type Swapper interface {
	// Value returns the value under key, nil if there is none.
	Value(ctx context.Context, key StoreKey) (value []byte, err error)

	// SwapValue puts value in the place of old, which is nil if there was none, and reports whether it did: not if another
	// value is there. That is one atomic step, and when it has returned the value is as safe as a take of the store.
	SwapValue(ctx context.Context, key StoreKey, old, value []byte) (swapped bool, err error)
}

// An Iterator is a store that can list its records. Each calls f for every record that is not past its lifetime, in
// no particular order, until f returns false or ctx is done. Records put or deleted meanwhile may or may not be seen.
// f must not keep record; it may call the store.
type Iterator interface {
	Each(ctx context.Context, f func(key StoreKey, record []byte, expiry time.Time) bool) error
}

// A Counter is a store that can say how many records it holds. The count may include expired ones not yet swept.
type Counter interface {
	Count(ctx context.Context) (int, error)
}

// A Sweeper is a store that must be told to free the room of records past their lifetime. Sweep returns how many it
// removed. Callers run it about once a minute; it must not block other calls for long.
type Sweeper interface {
	Sweep(ctx context.Context) (removed int, err error)
}

// A Pinger is a store that can be asked whether it works.
type Pinger interface {
	Ping(ctx context.Context) error
}

// A Clearer is a store that can delete all of its records, and values, in one call. It returns how many records there were, or -1 if
// it does not know.
type Clearer interface {
	Clear(ctx context.Context) (removed int, err error)
}
