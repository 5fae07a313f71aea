package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// tryPrimaries tries every primary, all at once. The client's own connections are made by that.
func (s *Store) tryPrimaries(ctx context.Context) error {
	primaries, err := s.primaries(ctx)
	if err != nil {
		return err
	}
	if len(primaries) == 0 {
		return errNoPrimary
	}
	var work sync.WaitGroup
	errs := make(chan error, len(primaries))
	for address, ranges := range primaries {
		work.Go(func() {
			err := s.tryPrimary(ctx, address, ranges)
			if err != nil && s.target.deployment != standalone {
				err = fmt.Errorf("%s: %w", address, err)
			}
			errs <- err
		})
	}
	work.Wait()
	for range primaries {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

var errNoPrimary = errors.New("no primary is known")

// tryPrimary tries what a node does.
func (s *Store) tryPrimary(ctx context.Context, address string, ranges []slotRange) error {
	key := s.keyWhere(func(slot uint16) bool { return contains(ranges, slot) })
	if err := s.tryCommands(ctx, key); err != nil {
		return err
	}
	if _, _, _, err := s.TakeIncarnated(ctx, key); err != nil {
		return fmt.Errorf("take: %w", err)
	}
	client, err := newClient(s.trackingOptions(address, func() {}))
	if err != nil {
		return fmt.Errorf("notices: %w", err)
	}
	defer client.Close()
	if _, err = s.pulseOf(ctx, client); err != nil {
		return err
	}
	return wrap(client.Do(ctx, client.B().Ping().Build()).Error())
}

// tryCommands sends commands that change nothing, and returns the error that one of them is not allowed. Other errors are passed over:
// a server that is full can still be taken from.
func (s *Store) tryCommands(ctx context.Context, key reprise.StoreKey) error {
	name := s.name(key)
	for _, command := range []func(rueidis.Builder) rueidis.Completed{
		func(b rueidis.Builder) rueidis.Completed {
			return b.Set().Key(name).Value("").Xx().PxMilliseconds(1).Build()
		},
		func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Getdel().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Del().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed {
			return b.Eval().Script("return 0").Numkeys(1).Key(name).Build()
		},
	} {
		_, err := s.do(ctx, s.shardOf(key), command)
		var answer *rueidis.RedisError
		if errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "NOPERM") {
			return err
		}
	}
	return nil
}
