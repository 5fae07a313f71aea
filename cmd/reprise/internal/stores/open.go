package stores

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/store/memory"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// Options are the settings of a store that its URL does not have.
type Options struct {
	// Prefix begins the keys in Redis. Empty is the default of package redisstore.
	Prefix string
	// CA is a file of CA certificates that a rediss:// server is verified against. Empty is the system's.
	CA string
	// Lazy opens a store though its server does not answer, which is logged. Calls fail until it does.
	Lazy   bool
	Logger *slog.Logger
}

// Open opens the store. Whoever opens it closes it, with [Close].
func Open(u URL, o Options) (reprise.Store, error) {
	switch u.Kind {
	case File:
		return openFile(u, o)
	case Redis:
		return openRedis(u, o)
	default:
		return &memory.Store{}, nil
	}
}

func openFile(u URL, o Options) (reprise.Store, error) {
	store, err := pebblestore.Open(u.Dir, pebblestore.Options{Logger: o.Logger})
	if errors.Is(err, pebblestore.ErrLocked) {
		return nil, hint.With(fmt.Errorf("store %s: %w", u.Dir, pebblestore.ErrLocked),
			"the sessions of a running server are reached by its --admin; two servers need a --store each, or a redis store")
	}
	if err != nil {
		return nil, err
	}
	return store, nil
}

func openRedis(u URL, o Options) (reprise.Store, error) {
	options := redisstore.Options{Prefix: o.Prefix, Unsafe: u.unsafe}
	if o.CA != "" {
		pool, err := certs.LoadPool([]string{o.CA}, "--store-ca")
		if err != nil {
			return nil, err
		}
		options.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	store, err := redisstore.Open(u.raw, options)
	if o.Lazy && redisstore.IsTemporary(err) {
		o.Logger.Warn("the store does not answer; connections make full handshakes until it does", "store", u.String(), "error", err)
		options.Lazy = true
		store, err = redisstore.Open(u.raw, options)
	}
	if err != nil {
		return nil, hint.With(err, "see that the server runs, its version is 6.2 or later, and user and password are right; %s", urlHint)
	}
	return store, nil
}

// Close closes a store that has to be closed.
func Close(s reprise.Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Exists returns an error if there is no embedded store where the URL says. Whether a server is there, only opening
// tells.
func Exists(u URL) error {
	switch u.Kind {
	case Memory:
		return hint.With(errors.New("a memory: store is gone with its process"), "ask the server itself with --admin")
	case File:
		_, err := os.Stat(u.Dir)
		return hint.With(err, "give the folder of an embedded store, such as --store file:state/sessions")
	default:
		return nil
	}
}
