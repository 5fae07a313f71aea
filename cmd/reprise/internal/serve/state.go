package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
)

const (
	// flushTimeout is how long the store may take at the end to write what is queued.
	flushTimeout = 10 * time.Second
	// keyMarkInterval is how often the key mark is looked at and renewed.
	keyMarkInterval = time.Minute
	// keyMarkTimeout is how long that may take.
	keyMarkTimeout = 2 * time.Second
)

// makeStateDir makes the state folder for this user alone.
func makeStateDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return hint.With(fmt.Errorf("state folder: %w", err), "give a --state-dir that this user can write to")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return hint.With(fmt.Errorf("state folder: %w", err), "give a --state-dir that this user can write to")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		log.Warn("the state folder can be read by other users; chmod 700 it", "folder", dir, "mode", fmt.Sprintf("%04o", mode))
	}
	return nil
}

// openCache opens the store, and the cache before it. The function it returns closes both: it writes what is queued,
// and the sessions stay in the store.
func (s *server) openCache() (closeAll func(), err error) {
	keys, err := fleetKeys(&s.settings.Store, s.log)
	if err != nil {
		return nil, err
	}
	s.store, err = stores.Open(s.settings.Store.URL, stores.Options{
		Prefix: s.settings.Store.StorePrefix,
		CA:     s.settings.Store.StoreCA,
		Lazy:   true,
		Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	if err = s.checkKeyMark(keys); err == nil {
		err = s.makeCache(keys)
	}
	if err != nil {
		return nil, errors.Join(err, stores.Close(s.store))
	}
	return s.closeCache, nil
}

func (s *server) makeCache(keys *reprise.FleetKeys) (err error) {
	settings := &s.settings.Cache
	s.cache, err = reprise.New(reprise.Options{
		Keys:          keys,
		Context:       []byte(settings.Context),
		SingleUse:     settings.SingleUse,
		Unclean:       settings.UncleanRule,
		LookupTimeout: s.settings.Store.LookupTimeout,
		Logger:        s.log,
	})
	if err != nil {
		return err
	}
	s.cache.SetMode(settings.ModeBits)
	s.cache.SetSize(settings.CacheSize)
	s.cache.SetTimeout(settings.Timeout)
	s.binding, err = reprise.BindStore(s.cache, s.store, reprise.StoreOptions{})
	return err
}

func (s *server) closeCache() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := errors.Join(s.binding.Close(ctx), s.cache.Close(), stores.Close(s.store))
	if err != nil {
		s.log.Error("not all sessions were stored", "error", err)
	}
}

// fleetKeys reads the fleet key file. For an embedded store it makes one if there is none.
func fleetKeys(settings *config.Store, log *slog.Logger) (*reprise.FleetKeys, error) {
	file := settings.FleetKeyFile
	keys, err := reprise.LoadFleetKeys(file)
	if errors.Is(err, fs.ErrNotExist) && !settings.URL.Shared() {
		if err := reprise.CreateFleetKeyFile(file); err != nil {
			return nil, hint.With(err, "give a --fleet-key in a folder that exists, has room, and that this user can write to")
		}
		log.Info("made a fleet key", "file", file)
		keys, err = reprise.LoadFleetKeys(file)
	}
	return keys, config.FleetKeyError(file, err)
}

// reloadFleetKeys reads the fleet key file again. If it is bad, the keys stay as they are.
func (s *server) reloadFleetKeys() {
	file := s.settings.Store.FleetKeyFile
	keys, err := reprise.LoadFleetKeys(file)
	if err != nil {
		s.log.Error("fleet keys stay as they are", "error", err)
		return
	}
	if err := s.cache.SetKeys(keys); err != nil {
		s.log.Error("fleet keys stay as they are", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keyMarkTimeout)
	defer cancel()
	s.markKeys(ctx)
	for _, key := range keys.Info(time.Now()) {
		s.log.Info("fleet key", "key", key.Name, "state", key.State)
	}
}

// checkKeyMark returns an error if the sessions in the store are of other fleet keys. That the store does not answer is
// none: the server does without it until it does.
func (s *server) checkKeyMark(keys *reprise.FleetKeys) error {
	ctx, cancel := context.WithTimeout(context.Background(), keyMarkTimeout)
	defer cancel()
	err := stores.CheckKeys(ctx, s.store, keys)
	if errors.Is(err, stores.ErrOtherKeys) {
		return err
	}
	if err != nil {
		s.log.Warn("it could not be seen whether the fleet keys fit the store", "error", err)
	}
	return nil
}

// keepKeyMark renews the key mark, until ctx is done.
func (s *server) keepKeyMark(ctx context.Context) {
	ticker := time.NewTicker(keyMarkInterval)
	defer ticker.Stop()
	for {
		s.renewKeyMark(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *server) renewKeyMark(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, keyMarkTimeout)
	defer cancel()
	if err := stores.CheckKeys(ctx, s.store, s.cache.Keys()); errors.Is(err, stores.ErrOtherKeys) {
		s.log.Error("fleet keys do not fit the store", "error", err)
		return
	}
	s.markKeys(ctx)
}

func (s *server) markKeys(ctx context.Context) {
	if err := stores.MarkKeys(ctx, s.store, s.cache.Keys()); err != nil && ctx.Err() == nil {
		s.log.Debug("the names of the fleet keys were not stored", "error", err)
	}
}
