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
// # What Take costs, and promises
//
// A take is GETDEL: one command, one round trip, and of all takers in the fleet one wins. It is not durable. A Redis that
// writes its log once a second (appendfsync everysec) may forget the last second of takes in a crash; a replica that is
// made primary may not have heard of them; a restored dump brings all back. Then a session for single use can be
// resumed once more.
package redisstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// DefaultPrefix is what the keys of records begin with unless told otherwise.
const DefaultPrefix = "reprise:"

// A Store is a [reprise.Store] in a Redis server. Use [Open] or [New] to make one. It implements all optional interfaces
// of package reprise but Sweeper, since Redis removes what has expired, and [io.Closer].
type Store struct {
	client rueidis.Client
	prefix string
	owned  bool // Close closes the client
}

// New makes a store of a client that the caller has set up, and closes after use. The client must speak to a primary,
// should have DisableCache set, since each record is read once, and DisableRetry, so that a dead server is noticed at
// once. Of the options only Prefix is used. In a cluster, Each, Count and Clear see the records of one node.
func New(client rueidis.Client, options Options) *Store {
	s := &Store{client: client, prefix: options.Prefix}
	if s.prefix == "" {
		s.prefix = DefaultPrefix
	}
	return s
}

// Put implements [reprise.Store] with SET PX. Lifetimes are rounded up to milliseconds.
func (s *Store) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	set, err := s.set(key, record, lifetime)
	if err != nil {
		return err
	}
	_, err = s.do(ctx, set)
	return err
}

// set returns the command of a put.
func (s *Store) set(key reprise.StoreKey, record []byte, lifetime time.Duration) (command rueidis.Completed, err error) {
	if lifetime <= 0 {
		return command, fmt.Errorf("redisstore: lifetime of %v, it must be more than zero", lifetime)
	}
	// The client may still read the value when a put that ran out of time has returned, so it gets a copy.
	set := s.client.B().Set().Key(s.name(key)).Value(string(record)).PxMilliseconds(milliseconds(lifetime))
	return set.Build(), nil
}

// milliseconds returns d rounded up.
func milliseconds(d time.Duration) int64 {
	return int64((d-1)/time.Millisecond) + 1
}

// Get implements [reprise.Store] with GET.
func (s *Store) Get(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	return recordOf(s.do(ctx, s.client.B().Get().Key(s.name(key)).Build()))
}

// Take implements [reprise.Store] with GETDEL.
func (s *Store) Take(ctx context.Context, key reprise.StoreKey) (record []byte, ok bool, err error) {
	return recordOf(s.do(ctx, s.client.B().Getdel().Key(s.name(key)).Build()))
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
	_, err := s.do(ctx, s.client.B().Del().Key(s.name(key)).Build())
	return err
}

// TakePromise implements [reprise.TakePromiser]: a take is atomic in the whole fleet, and not durable.
func (s *Store) TakePromise() reprise.TakePromise { return reprise.TakePromise{Atomic: true} }

// Ping implements [reprise.Pinger] with PING.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.do(ctx, s.client.B().Ping().Build())
	return err
}

// Close ends the connections of a store that [Open] made. The client given to [New] is the caller's to close.
func (s *Store) Close() error {
	if s.owned {
		s.client.Close()
	}
	return nil
}

// name returns the key of a record in Redis.
func (s *Store) name(key reprise.StoreKey) string { return s.prefix + hex.EncodeToString(key[:]) }

// do runs a command.
func (s *Store) do(ctx context.Context, command rueidis.Completed) (rueidis.RedisMessage, error) {
	answer, err := await(ctx, func() rueidis.RedisResult { return s.client.Do(ctx, command) })
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	message, err := answer.ToMessage()
	return message, wrap(err)
}

// await runs f on a goroutine of its own, so that the caller is let go when ctx is done: while the client connects for
// one call, others wait for it and do not look at their contexts.
func await[T any](ctx context.Context, f func() T) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
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

// wrap says whose error it is. That an answer is nil is no error, and stays as it is.
func wrap(err error) error {
	if err == nil || rueidis.IsRedisNil(err) {
		return err
	}
	return fmt.Errorf("redisstore: %w", err)
}
