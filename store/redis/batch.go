package redisstore

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// PutBatch implements [reprise.BatchPutter] with a SET PX for each record, sent together.
func (s *Store) PutBatch(ctx context.Context, puts []reprise.StorePut) error {
	commands := make(rueidis.Commands, len(puts))
	for i, p := range puts {
		var err error
		if commands[i], err = s.set(p.Key, p.Record, p.Lifetime); err != nil {
			return err
		}
	}
	answers, err := await(ctx, func() []rueidis.RedisResult { return s.client.DoMulti(ctx, commands...) })
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if err := answer.Error(); err != nil {
			return wrap(err)
		}
	}
	return nil
}
