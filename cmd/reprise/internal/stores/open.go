package stores

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/store/memory"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// Open opens the store. Whoever opens it closes it, with [Close].
func Open(u URL, log *slog.Logger) (reprise.Store, error) {
	switch u.Kind {
	case File:
		store, err := pebblestore.Open(u.Dir, pebblestore.Options{Logger: log})
		if errors.Is(err, pebblestore.ErrLocked) {
			return nil, hint.With(fmt.Errorf("store %s: %w", u.Dir, pebblestore.ErrLocked),
				"the sessions of a running server are reached by its --admin; two servers need a --store each, or a redis store")
		}
		if err != nil {
			return nil, err
		}
		return store, nil
	default:
		return &memory.Store{}, nil
	}
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
