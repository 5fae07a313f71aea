package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// Sources are where the numbers come from.
type Sources struct {
	Version string
	// StoreKind is the value of the label store: file, memory or redis.
	StoreKind string
	Cache     func() reprise.Stats
	Store     func() reprise.StoreStats
	// Listeners returns the sum of the listeners' counters.
	Listeners func() listen.Stats
}

// A Set is the metrics of a server, in a registry of their own.
type Set struct {
	registry   *prometheus.Registry
	handshakes *prometheus.CounterVec
}

// New makes the metrics of a server.
func New(s Sources) *Set {
	m := &Set{
		registry: prometheus.NewRegistry(),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_handshakes_total",
			Help: "Completed handshakes: outcome is full or resumed, reason resumed, not-offered or why the session was declined, version that of TLS.",
		}, []string{"outcome", "reason", "version"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "reprise_build_info", Help: "Always 1; the version is in the label.", ConstLabels: prometheus.Labels{"version": s.Version},
	})
	build.Set(1)
	m.registry.MustRegister(
		build,
		m.handshakes,
		newCollector("reprise_cache_", nil, ofCache, s.Cache),
		newCollector("reprise_store_", prometheus.Labels{"store": s.StoreKind}, ofStore, s.Store),
		newCollector("reprise_listener_", nil, ofListeners, s.Listeners),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// ofListeners are the numbers of the listeners.
var ofListeners = []series[listen.Stats]{
	gauge("pending_connections", "Connections that wait for the end of their handshake or to be served.", func(s listen.Stats) int { return s.Pending }),
	counter("handshakes_completed", "Handshakes completed.", func(s listen.Stats) uint64 { return s.Completed }),
	counter("handshakes_failed", "Handshakes that failed.", func(s listen.Stats) uint64 { return s.Failed }),
}

// Handshake counts a completed handshake of a TLS version, such as "TLS 1.3".
func (m *Set) Handshake(info listen.Info, version string) {
	outcome := "full"
	if info.Resumed {
		outcome = "resumed"
	}
	m.handshakes.WithLabelValues(outcome, info.Reason.String(), version).Inc()
}

// Handler answers requests for the metrics.
func (m *Set) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// A collector reads one snapshot for each scrape.
type collector[S any] struct {
	all   []series[S]
	descs []*prometheus.Desc
	read  func() S
}

func newCollector[S any](prefix string, labels prometheus.Labels, all []series[S], read func() S) *collector[S] {
	c := &collector[S]{all: all, read: read}
	for _, one := range all {
		name := prefix + one.name
		if !one.gauge {
			name += "_total"
		}
		var variable []string
		if one.label != "" {
			variable = []string{one.label}
		}
		c.descs = append(c.descs, prometheus.NewDesc(name, one.help, variable, labels))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector[S]) Collect(ch chan<- prometheus.Metric) {
	s := c.read()
	for i, one := range c.all {
		kind := prometheus.CounterValue
		if one.gauge {
			kind = prometheus.GaugeValue
		}
		for value, n := range one.values(s) {
			var labels []string
			if one.label != "" {
				labels = []string{value}
			}
			ch <- prometheus.MustNewConstMetric(c.descs[i], kind, n, labels...)
		}
	}
}
