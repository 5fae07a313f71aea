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
		return errors.New("no primary is known")
	}
	var work sync.WaitGroup
	errs := make(chan error, len(primaries))
	for address, ranges := range primaries {
		work.Go(func() { errs <- s.tryPrimary(ctx, address, ranges) })
	}
	work.Wait()
	for range primaries {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// tryPrimary tries what a node does: takes, commands, and notices.
func (s *Store) tryPrimary(ctx context.Context, address string, ranges []slotRange) error {
	key := s.keyWhere(func(slot uint16) bool { return contains(ranges, slot) })
	if _, _, _, err := s.TakeIncarnated(ctx, key); err != nil {
		return fmt.Errorf("%s: take: %w", address, err)
	}
	if err := s.tryCommands(ctx, key); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	client, err := rueidis.NewClient(s.trackingOptions(address, func() {}))
	if err != nil {
		return fmt.Errorf("%s: notices: %w", address, err)
	}
	defer client.Close()
	if _, err := lifeOf(ctx, client); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

// tryCommands sends commands that change nothing, and returns the error that one of them is not allowed. Other errors are passed over:
// a server that is full can still be taken from.
func (s *Store) tryCommands(ctx context.Context, key reprise.StoreKey) error {
	name := s.name(key)
	for _, command := range []func(rueidis.Builder) rueidis.Completed{
		func(b rueidis.Builder) rueidis.Completed { return b.Set().Key(name).Value("").Xx().PxMilliseconds(1).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Getdel().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Del().Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Eval().Script("return 0").Numkeys(1).Key(name).Build() },
		func(b rueidis.Builder) rueidis.Completed { return b.Ping().Build() },
	} {
		_, err := s.do(ctx, command)
		if redis, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(redis.Error(), "NOPERM") {
			return err
		}
	}
	return nil
}
