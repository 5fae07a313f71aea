package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
)

// Store says where sessions are kept, and under which keys.
type Store struct {
	StateDir      string        `default:"state" env:"REPRISE_STATE_DIR,STATE_DIRECTORY" placeholder:"DIR" help:"Folder for fleet key, sessions, admin socket and self-signed certificate; made with mode 0700. Default: ${default}."`
	Store         string        `placeholder:"URL" help:"Where sessions are kept: memory: (gone with the process), file:DIR (embedded, for one server), redis://USER:PASSWORD@HOST:PORT/DB, redis+cluster://HOST:PORT,… or redis+sentinel://HOST:PORT,…/MASTER, with rediss for TLS (for a fleet; a password is safer in the environment than in a flag). Default: file:STATE-DIR/sessions."`
	FleetKey      string        `placeholder:"FILE" help:"Fleet key file. Default: STATE-DIR/fleet.key, made at the first start. Required with a redis store: the same on all nodes; make it with 'reprise key new'."`
	LookupTimeout time.Duration `default:"50ms" placeholder:"DURATION" help:"How long the store lookups of one handshake may delay it. Default: ${default}."`
	StorePrefix   string        `placeholder:"TEXT" help:"What the keys in redis begin with. Default: reprise:."`
	StoreCA       string        `name:"store-ca" placeholder:"FILE" help:"CA certificates (PEM) that a rediss:// server is verified against. Default: those of the system."`
	UnsafeStore   bool          `help:"Allow a redis store beyond loopback without TLS and password. Records are sealed, but whoever reaches it can delete or replay them."`

	// URL is what Store means.
	URL stores.URL `kong:"-"`
	// FleetKeyFile is FleetKey, or the default.
	FleetKeyFile string `kong:"-"`
}

func (s *Store) check() error {
	if info, err := os.Stat(s.StateDir); err == nil && !info.IsDir() {
		return hint.With(fmt.Errorf("--state-dir %s: not a folder", s.StateDir), "name a folder; it is made if there is none")
	}
	raw := s.Store
	if raw == "" {
		raw = "file:" + filepath.Join(s.StateDir, "sessions")
	}
	var urlErr error
	if s.URL, urlErr = stores.Parse(raw, s.UnsafeStore); urlErr != nil {
		return hint.Join(urlErr, positive("--lookup-timeout", s.LookupTimeout, "50ms"))
	}
	return hint.Join(s.checkFleetKey(), s.checkCA(), positive("--lookup-timeout", s.LookupTimeout, "50ms"))
}

func (s *Store) checkCA() error {
	if s.StoreCA == "" {
		return nil
	}
	_, err := certs.LoadPool([]string{s.StoreCA}, "--store-ca")
	return err
}

func (s *Store) checkFleetKey() error {
	s.FleetKeyFile = s.FleetKey
	if s.FleetKeyFile == "" {
		if s.URL.Shared() {
			return hint.With(errors.New("a store that servers share needs the fleet key that they share"),
				"make one with 'reprise key new FILE', copy it to each server, and give --fleet-key FILE")
		}
		s.FleetKeyFile = filepath.Join(s.StateDir, "fleet.key")
	}
	if s.URL.Kind == stores.File && inside(s.FleetKeyFile, s.URL.Dir) {
		return hint.With(fmt.Errorf("fleet key %s is in the store's folder: a copy of the store would have its key", s.FleetKeyFile),
			"give a --fleet-key outside of %s", s.URL.Dir)
	}
	_, err := reprise.LoadFleetKeys(s.FleetKeyFile)
	if errors.Is(err, fs.ErrNotExist) && !s.URL.Shared() {
		return nil // made at the start
	}
	return FleetKeyError(s.FleetKeyFile, err)
}

// FleetKeyError adds a hint to an error of reading a fleet key file.
func FleetKeyError(file string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return hint.With(err, "make one with 'reprise key new %s', or copy the one of the other servers there", file)
	case errors.Is(err, fs.ErrPermission):
		return hint.With(err, "the file must belong to the user that runs this: chown it, and keep mode 0600")
	}
	return hint.With(err, "a fleet key file is made by 'reprise key new FILE', and has mode 0600")
}

// inside reports whether file lies below dir.
func inside(file, dir string) bool {
	rel, err := filepath.Rel(absolute(dir), absolute(file))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(os.PathSeparator))
}

// absolute returns path without symbolic links, as far as it exists.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}
