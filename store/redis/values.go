package redisstore

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// valueInfix stands between the prefix and the key of a value.
const valueInfix = "value:"

// Value implements [reprise.Swapper] with GET. Like Get it tries again if the connection has broken.
func (s *Store) Value(ctx context.Context, key reprise.StoreKey) (value []byte, err error) {
	name := s.valueName(key)
	value, ok, err := s.getFrom(ctx, s.shardOfValue(name), name)
	if !ok {
		return nil, err
	}
	return value, err
}

// swapScript puts a value in the place of another, in one atomic step. It has no lifetime, so a Redis that is full evicts
// it last or never.
var swapScript = rueidis.NewLuaScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

// SwapValue implements [reprise.Swapper] with a script of GET and SET.
func (s *Store) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (swapped bool, err error) {
	name, args := s.valueName(key), []string{string(old), string(value)}
	answer, err := s.call(ctx, s.shardOfValue(name), func(client rueidis.Client) rueidis.RedisResult {
		return swapScript.Exec(ctx, client, []string{name}, args)
	})
	if err != nil {
		return false, err
	}
	n, err := answer.AsInt64()
	return n == 1, wrap(err)
}

// valueName returns the key of a value in Redis.
func (s *Store) valueName(key reprise.StoreKey) string {
	return s.prefix + valueInfix + hex.EncodeToString(key[:])
}

// shardOfValue returns the shard that has a value, nil if none is known.
func (s *Store) shardOfValue(name string) *shard {
	if s.target.deployment != cluster {
		return nil
	}
	return s.slots.Load().shard(slotOf([]byte(name)))
}

// valueKey is the reverse of valueName. ok is false for names that are not those of values.
func (s *Store) valueKey(name string) (key reprise.StoreKey, ok bool) {
	digits, ok := strings.CutPrefix(name, s.prefix+valueInfix)
	if !ok {
		return key, false
	}
	return parseKey(digits)
}

// values returns how many of the names are those of values.
func (s *Store) values(names []string) (n int) {
	for _, name := range names {
		if strings.HasPrefix(name, s.prefix+valueInfix) {
			n++
		}
	}
	return n
}
