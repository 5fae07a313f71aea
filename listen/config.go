package listen

import (
	"crypto/tls"
	"fmt"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/stdtls"
)

// A configuration is what connections are served with. It is made once and not changed.
type configuration struct {
	attached *tls.Config // to the cache
	fixed    *tls.Config // as it was before, if it is the same for all clients, else nil
}

func newConfiguration(config *tls.Config, cache *reprise.Cache, engine string) (*configuration, error) {
	attached := config.Clone()
	if engine == EngineNative {
		attached.MaxVersion = tls.VersionTLS12
	}
	fixed := attached.Clone()
	if err := stdtls.Attach(attached, cache); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !native.CanPeek(fixed) {
		fixed = nil
	}
	return &configuration{attached, fixed}, nil
}

// SetConfig sets the configuration of the handshakes that begin from now on, such as one with renewed certificates. As [New] does, it
// uses a clone of config, attached to the cache; after an error, nothing has changed.
//
// It does what GetConfigForClient can do too, and costs clients of TLS 1.2 less: a configuration without GetConfigForClient and
// GetCertificate is the same for all clients, so that package native need not wait for crypto/tls to read the ClientHello.
func (l *Listener) SetConfig(config *tls.Config) error {
	c, err := newConfiguration(config, l.cache, l.options.Engine)
	if err != nil {
		return err
	}
	l.config.Store(c)
	return nil
}
