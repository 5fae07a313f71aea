package serve

import (
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/metrics"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
	"github.com/reprise-tls/reprise/listen"
)

func (s *server) newAdmin() *http.Server {
	return admin.NewServer(admin.Options{
		Status:   func() any { return s.status() },
		Draining: s.draining.Load,
		Metrics:  s.metrics.Handler(),
		Sessions: &sessions.Live{
			Cache:   s.cache,
			Binding: s.binding,
			Store:   sessions.Stored{Store: s.store, Skip: stores.KeyMark},
		},
		AnyHost: s.settings.Operation.UnsafeAdmin,
	})
}

func (s *server) newMetrics() *metrics.Set {
	return metrics.New(metrics.Sources{
		Version:   s.version,
		StoreKind: string(s.settings.Store.URL.Kind),
		Cache:     s.cache.Stats,
		Store:     s.binding.Stats,
		Listeners: s.listenerStats,
	})
}

func (s *server) listenerStats() (sum listen.Stats) {
	for _, l := range s.listeners {
		one := l.Stats()
		sum.Pending += one.Pending
		sum.Completed += one.Completed
		sum.Failed += one.Failed
	}
	return sum
}

// A status is what /_status shows.
type status struct {
	Version      string         `json:"version"`
	Go           string         `json:"go"`
	PID          int            `json:"pid"`
	Node         string         `json:"node"`
	Started      time.Time      `json:"started"`
	Uptime       int64          `json:"uptime_seconds"`
	Draining     bool           `json:"draining"`
	Listen       []string       `json:"listen"`
	Backend      string         `json:"backend,omitempty"`
	Context      string         `json:"context"`
	Scope        string         `json:"scope"` // of connections without a server name
	Certificates []certificate  `json:"certificates"`
	FleetKeys    []fleetKey     `json:"fleet_keys"`
	Settings     settings       `json:"settings"`
	Cache        map[string]any `json:"cache"`
	Store        storeStatus    `json:"store"`
}

type certificate struct {
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
}

type fleetKey struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	CurrentFrom *time.Time `json:"current_from,omitempty"`
}

type settings struct {
	Engine         string  `json:"engine"`
	Mode           string  `json:"mode"`
	CacheSize      int     `json:"cache_size"`
	TimeoutSeconds float64 `json:"timeout_seconds"`
	SingleUse      bool    `json:"single_use"`
	Unclean        string  `json:"unclean"`
}

type storeStatus struct {
	URL         string         `json:"url"`
	Kind        stores.Kind    `json:"kind"`
	Breaker     string         `json:"breaker"`
	TakeAtomic  bool           `json:"take_atomic"`
	TakeDurable bool           `json:"take_durable"`
	Counters    map[string]any `json:"counters"`
}

func (s *server) status() status {
	return status{
		Version:      s.version,
		Go:           runtime.Version(),
		PID:          os.Getpid(),
		Node:         s.settings.Operation.Node,
		Started:      s.started.UTC(),
		Uptime:       seconds(s.started),
		Draining:     s.draining.Load(),
		Listen:       s.addresses(),
		Backend:      s.settings.Backend.Backend,
		Context:      string(s.cache.Context()),
		Scope:        s.scope().String(),
		Certificates: s.certificates(),
		FleetKeys:    describeKeys(s.cache.Keys()),
		Settings: settings{
			Engine:         s.settings.Listening.Engine,
			Mode:           s.settings.Cache.Mode,
			CacheSize:      s.cache.Size(),
			TimeoutSeconds: s.cache.Timeout().Seconds(),
			SingleUse:      s.settings.Cache.SingleUse,
			Unclean:        s.settings.Cache.Unclean,
		},
		Cache: metrics.Cache(s.cache.Stats()),
		Store: s.storeStatus(),
	}
}

func (s *server) scope() reprise.Scope {
	config := s.identity.current.Load().config
	return reprise.ScopeOf(reprise.ConnectionInfo{
		Context:    s.cache.Context(),
		ClientAuth: config.ClientAuth,
		ClientCAs:  config.ClientCAs,
	})
}

func (s *server) addresses() []string {
	var addrs []string
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func (s *server) certificates() []certificate {
	var all []certificate
	for _, leaf := range s.identity.current.Load().set.Leaves() {
		all = append(all, certificate{leaf.DNSNames, leaf.NotAfter})
	}
	return all
}

func describeKeys(keys *reprise.FleetKeys) []fleetKey {
	var all []fleetKey
	for _, key := range keys.Info(time.Now()) {
		described := fleetKey{Name: key.Name, State: key.State}
		if !key.CurrentFrom.IsZero() {
			described.CurrentFrom = &key.CurrentFrom
		}
		all = append(all, described)
	}
	return all
}

func (s *server) storeStatus() storeStatus {
	stats, promise := s.binding.Stats(), s.binding.TakePromise()
	return storeStatus{
		URL:         s.settings.Store.URL.String(),
		Kind:        s.settings.Store.URL.Kind,
		Breaker:     stats.Breaker.String(),
		TakeAtomic:  promise.Atomic,
		TakeDurable: promise.Durable,
		Counters:    metrics.Store(stats),
	}
}
