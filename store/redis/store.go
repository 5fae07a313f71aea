// Package redisstore keeps the sessions of a fleet in a Redis server, version 6.2 or later, or in Valkey: every server
// of the fleet resumes what any other has made. Each call of a [Store] is one command of Redis.
//
// # Keys
//
// A record is a string under the prefix and the store key in hexadecimal, such as
//
//	reprise:5f3a…  (64 digits)
//
// and its lifetime is that of the key, in milliseconds, which Redis ends by itself. Hexadecimal costs 32 bytes a record
// and lets an operator find the session whose handle a server has shown: the handle is the beginning of the store key.
// Records are sealed: who reads the server learns no secret, and who writes to it makes no session.
//
// A value (see [reprise.Swapper]) is a string under the prefix, "value:" and its key, and has no lifetime.
//
// # What Take costs, and promises
//
// A take is GETDEL, in a script that also asks the server for its replication ID: one round trip, and of all takers in the fleet
// one wins. It is not durable: a Redis that writes its log once a second (appendfsync everysec) may forget the last second of takes
// in a crash; a replica that is made primary may not have heard of them; a restored dump brings all back. But in each of these
// cases the replication ID changes, and sessions for single use that were made under another one do not resume
// ([reprise.Incarnated]). In a cluster that holds for each primary.
//
// # Removal notices
//
// What one node removes goes from the internal caches of all others ([reprise.Notifier]), also what is removed by redis-cli. A
// node that may have missed a removal asks Redis about every session until it has.
package redisstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/guard"
)

// DefaultPrefix is what the keys of records begin with unless told otherwise.
const DefaultPrefix = "reprise:"

// A Store is a [reprise.Store] in Redis. Use [Open] to make one. It implements all optional interfaces of package reprise but
// Sweeper, since Redis removes what has expired, and [io.Closer].
type Store struct {
	target  *target
	options rueidis.ClientOption
	unsafe  bool // as in Options
	prefix  string
	noLife  uint64
	client  atomic.Pointer[connection] // nil until a server was reached
	slots   atomic.Pointer[slotTable]
	notices notices

	sentinels *sentinels // nil unless there are any

	ctx   context.Context // ends when the store is closed
	close context.CancelFunc
	work  sync.WaitGroup

	mu     sync.Mutex
	shards map[string]*shard      // by address
	known  map[string][]slotRange // what slots and shards were made of
}

// A connection is a client, and the address that it was made with first.
type connection struct {
	address string
	client  rueidis.Client
}

func newStore(t *target, options Options) *Store {
	s := &Store{target: t, options: clientOptions(t, options), unsafe: options.Unsafe, prefix: options.Prefix, shards: make(map[string]*shard)}
	if s.prefix == "" {
		s.prefix = DefaultPrefix
	}
	random := randomKey()
	s.noLife = max(binary.NativeEndian.Uint64(random[:]), 1)
	s.ctx, s.close = context.WithCancel(context.Background())
	s.slots.Store(new(slotTable))
	s.options.DialCtxFn = s.dialer(nil, t.password)
	return s
}

// Put implements [reprise.Store] with SET PX. Lifetimes are rounded up to milliseconds.
func (s *Store) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) (err error) {
	// The client may still read the record when a put that ran out of time has returned, so it gets a copy.
	put := []reprise.StorePut{{Key: key, Record: bytes.Clone(record), Lifetime: lifetime}}
	s.PutBatch(ctx, put, func(_ int, told error) { err = told })
	return err
}

// Get implements [reprise.Store] with GET. It tries again if the connection has broken: that may have been long ago.
func (s *Store) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	record, ok, err = s.get(ctx, key)
	s.wakeAfter(err, key)
	return record, ok, err
}

func (s *Store) get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	return s.getFrom(ctx, s.shardOf(key), s.name(key))
}

// getFrom gets what is under a key of Redis, from the shard that has it.
func (s *Store) getFrom(ctx context.Context, sh *shard, name string) (record []byte, ok bool, err error) {
	get := func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(name).Build() }
	answer, err := s.do(ctx, sh, get)
	for tries := 1; isWorthAnother(ctx, err, tries); tries++ {
		answer, err = s.do(ctx, sh, get)
	}
	return recordOf(answer, err)
}

// maxTries is how often a get is tried at most.
const maxTries = 3

// isWorthAnother reports whether a get that was tried so often is to be tried again.
func isWorthAnother(ctx context.Context, err error, tries int) bool {
	return isBroken(err) && ctx.Err() == nil && tries < maxTries
}

// isBroken reports whether a call failed for its connection: neither Redis has answered nor has the time run out.
func isBroken(err error) bool {
	var answer *rueidis.RedisError
	return err != nil && !errors.As(err, &answer) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) &&
		!isUnnamed(err)
}

// Take implements [reprise.Store] with GETDEL. Bindings use [Store.TakeIncarnated].
func (s *Store) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	return recordOf(s.do(ctx, s.shardOf(key), func(b rueidis.Builder) rueidis.Completed { return b.Getdel().Key(s.name(key)).Build() }))
}

// recordOf returns the record that Redis has answered with, if it is one.
func recordOf(answer rueidis.RedisMessage, err error) (record []byte, ok bool, _ error) {
	if rueidis.IsRedisNil(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	text, err := answer.ToString()
	return []byte(text), err == nil, err
}

// Delete implements [reprise.Store] with DEL.
func (s *Store) Delete(ctx context.Context, key reprise.StoreKey) error {
	_, err := s.do(ctx, s.shardOf(key), func(b rueidis.Builder) rueidis.Completed { return b.Del().Key(s.name(key)).Build() })
	return err
}

// TakePromise implements [reprise.TakePromiser]: a take is atomic in the whole fleet, and not durable.
func (s *Store) TakePromise() reprise.TakePromise { return reprise.TakePromise{Atomic: true} }

// Ping implements [reprise.Pinger] with PING.
func (s *Store) Ping(ctx context.Context) error {
	client, err := s.connected()
	if err != nil {
		return err
	}
	_, err = callBy(ctx, client, func(client rueidis.Client) rueidis.RedisResult { return client.Do(ctx, client.B().Ping().Build()) })
	return err
}

// Close ends the connections. Calls fail from then on.
func (s *Store) Close() error {
	s.close()
	s.work.Wait()
	if made := s.client.Load(); made != nil {
		made.client.Close()
	}
	return nil
}

// name returns the key of a record in Redis.
func (s *Store) name(key reprise.StoreKey) string {
	var room [128]byte
	return string(s.appendName(room[:0], key))
}

func (s *Store) appendName(b []byte, key reprise.StoreKey) []byte {
	return hex.AppendEncode(append(b, s.prefix...), key[:])
}

// do runs a command about what a shard has.
func (s *Store) do(ctx context.Context, sh *shard, command func(rueidis.Builder) rueidis.Completed) (rueidis.RedisMessage, error) {
	return s.call(ctx, sh, func(client rueidis.Client) rueidis.RedisResult { return client.Do(ctx, command(client.B())) })
}

// call makes a call about what a shard has, which may be nil. Where its server has that no more, the client for everything knows who has.
func (s *Store) call(ctx context.Context, sh *shard, call func(rueidis.Client) rueidis.RedisResult) (rueidis.RedisMessage, error) {
	client, err := s.clientOf(sh)
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	message, err := callBy(ctx, client, call)
	if sh.forgetNode(err); !isRedirect(err) {
		return message, err
	}
	if client, err = s.connected(); err != nil {
		return rueidis.RedisMessage{}, err
	}
	return callBy(ctx, client, call)
}

func callBy(ctx context.Context, client rueidis.Client, call func(rueidis.Client) rueidis.RedisResult) (rueidis.RedisMessage, error) {
	answer, err := await(ctx, func() rueidis.RedisResult { return call(client) })
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	message, err := answer.ToMessage()
	return message, wrap(err)
}

// connected returns the client. An error is that no server was reached yet, or that it may be no primary any more.
func (s *Store) connected() (rueidis.Client, error) {
	made := s.client.Load()
	if made == nil {
		return nil, errNotConnected
	}
	if err := s.checkNamed(made.address); err != nil {
		return nil, err
	}
	return made.client, nil
}

// checkNamed returns an error if there are sentinels, and too few of them name a server as the primary.
func (s *Store) checkNamed(address string) error {
	if s.sentinels == nil {
		return nil
	}
	return s.sentinels.check(address)
}

var errNotConnected = errors.New("redisstore: no server was reached yet")

// await runs f on a goroutine of its own, so that the caller is let go when ctx is done: while the client connects for
// one call, others wait for it and do not look at their contexts. A binding sees to that itself.
func await[T any](ctx context.Context, f func() T) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	if guard.Holds(ctx) {
		return f(), nil
	}
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case answer = <-done:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// wrap says whose error it is, and keeps it short. That an answer is nil is no error, and stays as it is.
func wrap(err error) error {
	if err == nil || rueidis.IsRedisNil(err) {
		return err
	}
	return &shortError{err}
}

// A shortError shows no arguments of a command, such as the key of a record or a password, which Redis repeats if it does not know the command.
type shortError struct{ err error }

// maxErrorLength is how much in bytes it shows.
const maxErrorLength = 400

func (e *shortError) Error() string {
	text, _, _ := strings.Cut(e.err.Error(), ", with args beginning with")
	if len(text) > maxErrorLength {
		text = text[:maxErrorLength] + "…"
	}
	return "redisstore: " + text
}

func (e *shortError) Unwrap() error { return e.err }

// newClient makes a client.
func newClient(options rueidis.ClientOption) (rueidis.Client, error) {
	client, err := rueidis.NewClient(options)
	return client, wrap(err)
}
