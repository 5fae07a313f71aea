package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// PutBatch implements [reprise.BatchPutter] with a SET PX for each record, those of one primary sent together. They go by the connection
// that notices come by, so that Redis tells all nodes of them but this one, which has the sessions.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut, done func(i int, err error)) {
	byClient := make(map[rueidis.Client][]int, 1)
	for i, p := range puts {
		switch by, err := s.putsBy(p.Key); {
		case err != nil:
			done(i, err)
		case p.Lifetime <= 0:
			done(i, fmt.Errorf("redisstore: lifetime of %v, it must be more than zero", p.Lifetime))
		default:
			byClient[by] = append(byClient[by], i)
		}
	}
	forEach(byClient, func(by rueidis.Client, places []int) { s.putTogether(ctx, by, puts, places, done) })
}

// BatchDelay implements [reprise.BatchPutter].
func (s *Store) BatchDelay() time.Duration { return 10 * time.Millisecond }

// putsBy returns the client for a put: that of the primary's notices, or else the one for what the primary has.
func (s *Store) putsBy(key reprise.StoreKey) (rueidis.Client, error) {
	sh := s.shardOf(key)
	if sh != nil {
		if tracks := sh.tracks.Load(); tracks != nil && s.checkNamed(sh.address) == nil {
			return *tracks, nil
		}
	}
	return s.clientOf(sh)
}

// putTogether makes the puts in some places, by one client. That its server does not have the slot of a key any more is no failure: the
// client for everything knows who has.
func (s *Store) putTogether(ctx context.Context, by rueidis.Client, puts []reprise.StorePut, places []int, done func(int, error)) {
	var moved []int
	s.doPuts(ctx, by, puts, places, func(i int, err error) {
		if isRedirect(err) {
			moved = append(moved, i)
		} else {
			done(i, err)
		}
	})
	if len(moved) == 0 {
		return
	}
	client, err := s.connected()
	if err != nil {
		for _, i := range moved {
			done(i, err)
		}
		return
	}
	s.doPuts(ctx, client, puts, moved, done)
}

// doPuts tells how each of the puts in some places went.
func (s *Store) doPuts(ctx context.Context, by rueidis.Client, puts []reprise.StorePut, places []int, done func(int, error)) {
	commands := make(rueidis.Commands, len(places))
	for at, i := range places {
		p := puts[i]
		commands[at] = by.B().Set().Key(s.name(p.Key)).Value(rueidis.BinaryString(p.Record)).PxMilliseconds(milliseconds(p.Lifetime)).Build()
	}
	answers, err := await(ctx, func() []rueidis.RedisResult { return by.DoMulti(ctx, commands...) })
	for at, i := range places {
		if err != nil {
			done(i, err)
		} else {
			done(i, wrap(answers[at].Error()))
		}
	}
}

// isRedirect reports whether a server says that another one has the key.
func isRedirect(err error) bool {
	var redis *rueidis.RedisError
	if !errors.As(err, &redis) {
		return false
	}
	_, moved := redis.IsMoved()
	_, ask := redis.IsAsk()
	return moved || ask
}

// milliseconds returns d rounded up.
func milliseconds(d time.Duration) int64 {
	return int64((d-1)/time.Millisecond) + 1
}
