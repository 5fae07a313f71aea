package redisstore

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// GetBatch implements [reprise.BatchGetter] with a GET for each record, those of one primary sent together. It tries those again whose
// connection has broken, as [Store.Get] does.
func (s *Store) GetBatch(ctx context.Context, keys []reprise.StoreKey, done func(i int, record []byte, err error)) {
	byShard := make(map[*shard][]int, 1)
	for i, key := range keys {
		sh := s.shardOf(key)
		byShard[sh] = append(byShard[sh], i)
	}
	forEach(byShard, func(sh *shard, places []int) { s.getTogether(ctx, sh, keys, places, done) })
}

// forEach calls f for the places of each server, all at once.
func forEach[K comparable](places map[K][]int, f func(K, []int)) {
	var work sync.WaitGroup
	for server, those := range places {
		if len(places) == 1 {
			f(server, those)
			return
		}
		work.Go(func() { f(server, those) })
	}
	work.Wait()
}

// getTogether gets the records under the keys in some places from a shard. Where it has them no more, the client for everything knows who
// has.
func (s *Store) getTogether(ctx context.Context, sh *shard, keys []reprise.StoreKey, places []int, done func(int, []byte, error)) {
	client, err := s.clientOf(sh)
	for tries := 1; len(places) > 0; tries++ {
		if err != nil {
			for _, i := range places {
				done(i, nil, err)
			}
			return
		}
		answers, failed := doGets(ctx, client, places, func(i int) string { return s.name(keys[i]) })
		var again []int
		isElsewhere := false
		for at, i := range places {
			var message rueidis.RedisMessage
			err := failed
			if err == nil {
				message, err = answers[at].ToMessage()
				err = wrap(err)
			}
			sh.forgetNode(err)
			isMoved := isRedirect(err) && tries == 1
			isElsewhere = isElsewhere || isMoved || errors.Is(err, rueidis.ErrClosing)
			if isMoved || isWorthAnother(ctx, err, tries) {
				again = append(again, i)
				continue
			}
			record, _, err := recordOf(message, err)
			s.wakeAfter(err, keys[i])
			done(i, record, err)
		}
		if isElsewhere {
			client, err = s.connected()
		}
		places = again
	}
}

// doGets returns an answer for each of the places.
func doGets(ctx context.Context, client rueidis.Client, places []int, name func(i int) string) ([]rueidis.RedisResult, error) {
	commands := make(rueidis.Commands, len(places))
	for at, i := range places {
		commands[at] = client.B().Get().Key(name(i)).Build()
	}
	return await(ctx, func() []rueidis.RedisResult { return client.DoMulti(ctx, commands...) })
}
