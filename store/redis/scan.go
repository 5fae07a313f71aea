package redisstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// page is how many keys Redis looks at in one command.
const page = 500

// Each implements [reprise.Iterator] with SCAN, and GET and PTTL for each key. It shows the records as they are when it
// comes to them. While it runs it remembers 8 bytes of each key, since SCAN may return a key twice.
func (s *Store) Each(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
	seen := make(map[uint64]struct{})
	return s.scan(ctx, func(names []string) (more bool, err error) {
		keys := s.newKeys(names, seen)
		if len(keys) == 0 {
			return true, nil
		}
		client, err := s.connected()
		if err != nil {
			return false, err
		}
		answers, err := await(ctx, func() []rueidis.RedisResult { return client.DoMulti(ctx, s.reads(client, keys)...) })
		if err != nil {
			return false, err
		}
		for i, key := range keys {
			record, expiry, ok, err := shown(answers[2*i], answers[2*i+1])
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return false, err
			}
			if ok && !f(key, record, expiry) {
				return false, nil
			}
		}
		return true, nil
	})
}

// Count implements [reprise.Counter] with SCAN: it makes Redis look at all of its keys, a page at a time.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	seen := make(map[uint64]struct{})
	err = s.scan(ctx, func(names []string) (bool, error) {
		n += len(s.newKeys(names, seen))
		return true, nil
	})
	return n, err
}

// Clear implements [reprise.Clearer] with SCAN and UNLINK. It removes all keys with the prefix, those of records put
// meanwhile perhaps too.
func (s *Store) Clear(ctx context.Context) (removed int, err error) {
	err = s.scan(ctx, func(names []string) (bool, error) {
		n, err := s.unlink(ctx, names)
		removed += max(0, n-s.values(names))
		return true, err
	})
	return removed, err
}

// unlink removes keys, one by one since they may lie in different slots, in one round trip.
func (s *Store) unlink(ctx context.Context, names []string) (removed int, err error) {
	client, err := s.connected()
	if err != nil || len(names) == 0 {
		return 0, err
	}
	commands := make(rueidis.Commands, len(names))
	for i, name := range names {
		commands[i] = client.B().Unlink().Key(name).Build()
	}
	answers, err := await(ctx, func() []rueidis.RedisResult { return client.DoMulti(ctx, commands...) })
	if err != nil {
		return 0, err
	}
	for _, answer := range answers {
		n, err := answer.AsInt64()
		if err != nil {
			return removed, wrap(err)
		}
		removed += int(n)
	}
	return removed, nil
}

// scan calls f with the names of all keys that have the prefix, page after page and one primary after the other, until f
// wants no more.
func (s *Store) scan(ctx context.Context, f func(names []string) (more bool, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	client, err := s.connected()
	if err != nil {
		return err
	}
	primaries, err := s.primaries(ctx)
	if err != nil {
		return err
	}
	nodes := client.Nodes()
	for address := range primaries {
		node := nodes[address]
		if node == nil {
			return fmt.Errorf("redisstore: %s has joined the cluster just now", address)
		}
		if more, err := s.scanOne(ctx, node, f); err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *Store) scanOne(ctx context.Context, node rueidis.Client, f func(names []string) (bool, error)) (more bool, err error) {
	for cursor := uint64(0); ; {
		scan := node.B().Scan().Cursor(cursor).Match(escape(s.prefix) + "*").Count(page).Build()
		answer, err := await(ctx, func() rueidis.RedisResult { return node.Do(ctx, scan) })
		if err != nil {
			return false, err
		}
		entry, err := answer.AsScanEntry()
		if err != nil {
			return false, wrap(err)
		}
		more, err := f(entry.Elements)
		if cursor = entry.Cursor; err != nil || !more || cursor == 0 {
			return more, err
		}
	}
}

// escape quotes what has a meaning in patterns of Redis.
func escape(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix)
}

// newKeys returns the store keys in names that are not yet in seen, and adds them.
func (s *Store) newKeys(names []string, seen map[uint64]struct{}) []reprise.StoreKey {
	var keys []reprise.StoreKey
	for _, name := range names {
		key, ok := s.storeKey(name)
		first := binary.NativeEndian.Uint64(key[:])
		if _, again := seen[first]; !ok || again {
			continue
		}
		seen[first] = struct{}{}
		keys = append(keys, key)
	}
	return keys
}

// storeKey is the reverse of name. ok is false for names that are not those of records.
func (s *Store) storeKey(name string) (key reprise.StoreKey, ok bool) {
	digits, ok := strings.CutPrefix(name, s.prefix)
	if !ok {
		return key, false
	}
	return parseKey(digits)
}

// parseKey reads a key in hexadecimal.
func parseKey(digits string) (key reprise.StoreKey, ok bool) {
	if len(digits) != 2*len(key) || strings.ContainsAny(digits, "ABCDEF") {
		return key, false
	}
	_, err := hex.Decode(key[:], []byte(digits))
	return key, err == nil
}

// reads returns the commands that read the records of keys and how long they have to live: two for each key.
func (s *Store) reads(client rueidis.Client, keys []reprise.StoreKey) []rueidis.Completed {
	commands := make([]rueidis.Completed, 0, 2*len(keys))
	for _, key := range keys {
		name := s.name(key)
		commands = append(commands, client.B().Get().Key(name).Build(), client.B().Pttl().Key(name).Build())
	}
	return commands
}

// shown returns what Each shows of a record. ok is false if it has gone since, or is none of ours: it has no expiry.
func shown(get, pttl rueidis.RedisResult) (record []byte, expiry time.Time, ok bool, err error) {
	answer, err := get.ToMessage()
	record, ok, err = recordOf(answer, wrap(err))
	if err != nil || !ok {
		return nil, time.Time{}, false, err
	}
	left, err := pttl.AsInt64()
	return record, time.Now().Add(time.Duration(left) * time.Millisecond), left > 0, wrap(err)
}
