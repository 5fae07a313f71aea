package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// PutBatch implements [reprise.BatchPutter] with a SET PX for each record, sent together. They go by the connection that notices
// come by, so that Redis tells all nodes of them but this one, which has the sessions.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut) error {
	for _, p := range puts {
		if p.Lifetime <= 0 {
			return fmt.Errorf("redisstore: lifetime of %v, it must be more than zero", p.Lifetime)
		}
	}
	client, err := s.connected()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	byClient := make(map[rueidis.Client][]reprise.StorePut, 1)
	for _, p := range puts {
		by := client
		if sh := s.shardOf(p.Key); sh != nil {
			if tracks := sh.tracks.Load(); tracks != nil {
				by = *tracks
			}
		}
		byClient[by] = append(byClient[by], p)
	}
	return s.putBy(ctx, byClient)
}

// BatchDelay implements [reprise.BatchPutter].
func (s *Store) BatchDelay() time.Duration { return 10 * time.Millisecond }

// putBy puts by several clients at once.
func (s *Store) putBy(ctx context.Context, byClient map[rueidis.Client][]reprise.StorePut) error {
	var work sync.WaitGroup
	errs := make(chan error, len(byClient))
	for by, puts := range byClient {
		if len(byClient) == 1 {
			return s.putWherever(ctx, by, puts)
		}
		work.Go(func() { errs <- s.putWherever(ctx, by, puts) })
	}
	work.Wait()
	for range byClient {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// putWherever puts by one client. A server that does not have the slot of a key any more is no failure: the cluster knows who has.
func (s *Store) putWherever(ctx context.Context, by rueidis.Client, puts []reprise.StorePut) error {
	moved, err := s.putAll(ctx, by, puts)
	if client, _ := s.connected(); err == nil && len(moved) > 0 {
		_, err = s.putAll(ctx, client, moved)
	}
	return err
}

// putAll puts by one client, and returns the puts that another server has to do.
func (s *Store) putAll(ctx context.Context, by rueidis.Client, puts []reprise.StorePut) (moved []reprise.StorePut, err error) {
	commands := make(rueidis.Commands, len(puts))
	for i, p := range puts {
		set := by.B().Set().Key(s.name(p.Key)).Value(rueidis.BinaryString(p.Record)).PxMilliseconds(milliseconds(p.Lifetime))
		commands[i] = set.Build()
	}
	answers, err := await(ctx, func() []rueidis.RedisResult { return by.DoMulti(ctx, commands...) })
	if err != nil {
		return nil, err
	}
	for i, answer := range answers {
		switch err := answer.Error(); {
		case isRedirect(err):
			moved = append(moved, puts[i])
		case err != nil:
			return nil, wrap(err)
		}
	}
	return moved, nil
}

// isRedirect reports whether a server says that another one has the key.
func isRedirect(err error) bool {
	redis, ok := rueidis.IsRedisErr(err)
	if !ok {
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
