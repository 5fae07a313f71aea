package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"

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
	if config == nil {
		return nil, errors.New("listen: a Listener needs a tls.Config")
	}
	attached := config.Clone()
	if engine == EngineNative {
		attached.MaxVersion = tls.VersionTLS12
	}
	if attached.KeyLogWriter != nil {
		attached.KeyLogWriter = keyLog{attached.KeyLogWriter}
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

// A keyLog is a KeyLogWriter that both engines may use: each keeps its own lines apart, but not from those of the other.
type keyLog struct{ writer io.Writer }

// keyLogMutex is one for all listeners, as those of the engines are: configurations often share a writer.
var keyLogMutex sync.Mutex

func (k keyLog) Write(line []byte) (int, error) {
	keyLogMutex.Lock()
	defer keyLogMutex.Unlock()
	return k.writer.Write(line)
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
