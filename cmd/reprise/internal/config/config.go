// Package config holds the settings of a server: as flags, in the environment and in a file, in this order of
// precedence, and checked.
package config

import (
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// EnvPrefix begins the name of the variable in the environment that stands for a flag: REPRISE_CACHE_SIZE for
// --cache-size.
const EnvPrefix = "REPRISE"

// Serve are the settings of a server. Each part has its flags and, filled in by [Serve.Check], what they mean.
type Serve struct {
	Config    File      `placeholder:"FILE" help:"Read settings from this TOML file; its keys are the names of flags. Flags and the environment go before it."`
	Listening Listening `embed:"" group:"Listening:"`
	TLS       TLS       `embed:"" group:"Certificates:"`
	Backend   Backend   `embed:"" group:"Backend:"`
	Cache     Cache     `embed:"" group:"Sessions:"`
	Store     Store     `embed:"" group:"Store:"`
	Operation Operation `embed:"" group:"Operation:"`
}

// Check checks the settings, and fills in what they mean. It reports everything that is wrong, each with a hint. It
// opens nothing and makes nothing.
func (s *Serve) Check() error {
	s.TLS.dropEmpty()
	return hint.Join(
		s.Listening.check(),
		s.TLS.check(),
		s.Backend.check(),
		s.Cache.check(len(s.TLS.ClientCA) > 0),
		s.Store.check(),
		s.Operation.check(s.Store.StateDir),
	)
}
