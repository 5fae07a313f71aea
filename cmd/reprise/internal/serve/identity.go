package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/listen"
)

// An identity is the certificates that the server shows and those that it asks for, as they are now.
type identity struct {
	settings *config.TLS
	protos   []string
	log      *slog.Logger
	watcher  *certs.Watcher
	loading  sync.Mutex
	current  atomic.Pointer[loaded]
}

// loaded is what was read from the files at one time.
type loaded struct {
	config *tls.Config
	set    *certs.Set
}

// newIdentity reads the certificates; it makes a self-signed one if the settings say so.
func newIdentity(s *config.Serve, protos []string, log *slog.Logger) (*identity, error) {
	id := &identity{settings: &s.TLS, protos: protos, log: log, watcher: certs.Watch(s.TLS.Files())}
	if s.TLS.SelfSigned {
		pair, err := certs.SelfSigned(s.Store.StateDir, localNames(s.Listening.Listen))
		if err != nil {
			return nil, hint.With(fmt.Errorf("self-signed certificate: %w", err), "give a --state-dir that this user can write to")
		}
		s.TLS.Pairs = []certs.Pair{pair}
	}
	return id, id.reload(nil)
}

// localNames are the names of a self-signed certificate: those of this host, and the addresses it listens on.
func localNames(addrs []string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	for _, addr := range addrs {
		host, _, _ := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && !ip.IsLoopback() {
			names = append(names, host)
		}
	}
	return names
}

// reload reads the files again, for listeners to use what is in them. After an error nothing has changed.
func (id *identity) reload(listeners []*listen.Listener) error {
	id.loading.Lock()
	defer id.loading.Unlock()
	now, err := id.load()
	if err != nil {
		return err
	}
	for _, l := range listeners {
		if err := l.SetConfig(now.config); err != nil {
			return err
		}
	}
	id.current.Store(now)
	return nil
}

// load reads the files.
func (id *identity) load() (*loaded, error) {
	set, err := certs.Load(id.settings.Pairs)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: id.protos,
		ClientAuth: id.settings.ClientAuthType,
	}
	set.Configure(config)
	if len(id.settings.ClientCA) > 0 {
		if config.ClientCAs, err = certs.LoadPool(id.settings.ClientCA, "--client-ca"); err != nil {
			return nil, err
		}
	}
	for _, leaf := range set.ExpiresBefore(time.Now()) {
		id.log.Warn("a certificate has expired", "names", leaf.DNSNames, "expired", leaf.NotAfter)
	}
	return &loaded{config, set}, nil
}

// reloadCertificates reads the certificates again. If they are bad, they stay as they are.
func (s *server) reloadCertificates() {
	if err := s.identity.reload(s.listeners); err != nil {
		s.log.Error("certificates stay as they are", "error", err)
		return
	}
	s.log.Info("certificates loaded", "count", len(s.identity.current.Load().set.Leaves()))
}
