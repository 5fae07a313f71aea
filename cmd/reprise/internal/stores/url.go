// Package stores opens the store that a URL names.
package stores

import (
	"errors"
	"fmt"
	"strings"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// A Kind is a backend for sessions.
type Kind string

// The kinds of stores.
const (
	Memory Kind = "memory" // in this process
	File   Kind = "file"   // embedded, in a folder
	Redis  Kind = "redis"  // a Redis server, or several that belong together
)

// A URL says where sessions are kept. It has a password perhaps; print it with String.
type URL struct {
	Kind Kind
	// Dir is the folder of an embedded store.
	Dir    string
	raw    string
	unsafe bool
}

const urlHint = "a store is memory:, file:DIR, redis://[USER:PASSWORD@]HOST:PORT[/DB], redis+cluster://HOST:PORT,… or " +
	"redis+sentinel://HOST:PORT,…/MASTER, with rediss for TLS, such as --store file:/var/lib/reprise/sessions"

// Parse reads the URL of a store. Unless allowUnsafe is set it refuses a server beyond loopback without TLS or without
// a password. Its errors do not show what it was given.
func Parse(raw string, allowUnsafe bool) (URL, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return URL{}, hint.With(errors.New("store: the URL has no scheme"), urlHint)
	}
	switch scheme {
	case "memory":
		if rest != "" {
			return URL{}, hint.With(errors.New("store: memory: is the whole URL, nothing may follow"), urlHint)
		}
		return URL{Kind: Memory, raw: raw}, nil
	case "file":
		return parseFile(raw, rest)
	case "redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel":
		if err := checkRedis(raw, allowUnsafe); err != nil {
			return URL{}, err
		}
		return URL{Kind: Redis, raw: raw, unsafe: allowUnsafe}, nil
	default:
		return URL{}, hint.With(fmt.Errorf("store: unknown scheme %q", scheme), urlHint)
	}
}

// parseFile reads file:DIR, and file:///DIR too, as URLs of files are often written.
func parseFile(raw, dir string) (URL, error) {
	if strings.HasPrefix(dir, "//") && !strings.HasPrefix(dir, "///") {
		return URL{}, hint.With(errors.New("store: file: with a host"), "for a folder relative to this one use file:DIR, else file:/DIR")
	}
	dir = strings.TrimPrefix(dir, "//")
	if dir == "" {
		return URL{}, hint.With(errors.New("store: file: without a folder"), urlHint)
	}
	return URL{Kind: File, Dir: dir, raw: raw}, nil
}

func checkRedis(raw string, allowUnsafe bool) error {
	err := redisstore.Check(raw, redisstore.Options{Unsafe: allowUnsafe})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redisstore.ErrUnsafe):
		return hint.With(fmt.Errorf("store: %w", err),
			"use rediss:// with USER:PASSWORD@, or --unsafe-store if nobody else reaches that server and the network between is safe")
	default:
		return hint.With(fmt.Errorf("store: %w", err), urlHint)
	}
}

// Shared reports whether other servers may use the store at the same time.
func (u URL) Shared() bool { return u.Kind == Redis }

// String returns the URL without user and password.
func (u URL) String() string {
	if u.Kind != Redis {
		return u.raw
	}
	return redisstore.Redact(u.raw)
}
