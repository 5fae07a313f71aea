package metrics_test

import (
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/metrics"
	"github.com/reprise-tls/reprise/listen"
)

func sources() metrics.Sources {
	return metrics.Sources{
		Version:   "v1.2.3",
		StoreKind: "file",
		Cache: func() reprise.Stats {
			return reprise.Stats{
				Number: 3, Hits: 7,
				Outcomes: map[reprise.Reason]uint64{reprise.ServerName: 2},
				Removals: map[reprise.Removal]uint64{reprise.RemovedFatalAlert: 4},
			}
		},
		Store:     func() reprise.StoreStats { return reprise.StoreStats{Puts: 5, Breaker: reprise.BreakerHalfOpen} },
		Listeners: func() listen.Stats { return listen.Stats{Failed: 6} },
	}
}

func scrape(t *testing.T) string {
	t.Helper()
	m := metrics.New(sources())
	m.Handshake(listen.Info{Resumed: true, Reason: reprise.Resumed}, "TLS 1.3")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestScrape(t *testing.T) {
	body := scrape(t)
	for _, want := range []string{
		`reprise_build_info{version="v1.2.3"} 1`,
		`reprise_handshakes_total{outcome="resumed",reason="resumed",version="TLS 1.3"} 1`,
		`reprise_cache_sessions 3`,
		`reprise_cache_hits_total 7`,
		`reprise_cache_outcomes_total{reason="server-name"} 2`,
		`reprise_cache_removals_total{reason="fatal alert"} 4`,
		`reprise_store_calls_total{call="put",store="file"} 5`,
		`reprise_store_breaker_open{store="file"} 1`,
		`reprise_listener_handshakes_failed_total 6`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("not in the metrics: %s", want)
		}
	}
}

// TestNames: names and units follow Prometheus's rules.
func TestNames(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "reprise_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestEachIsDocumented: the table in docs/operations.md has every name, in full or without what it shares with the one before it.
func TestEachIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^# TYPE (reprise_[a-z]+)(_\w+) `).FindAllStringSubmatch(scrape(t), -1)
	if len(names) < 40 {
		t.Fatalf("only %d metrics were found", len(names))
	}
	for _, name := range names {
		if !regexp.MustCompile("`(" + name[1] + ")?" + name[2] + `\b`).Match(text) {
			t.Errorf("%s%s is not in docs/operations.md", name[1], name[2])
		}
	}
}

func TestSnapshots(t *testing.T) {
	cache := metrics.Cache(sources().Cache())
	if cache["hits"] != 7.0 || cache["removals"].(map[string]float64)["fatal alert"] != 4 {
		t.Errorf("snapshot of the cache: %v", cache)
	}
	if store := metrics.Store(sources().Store()); store["calls"].(map[string]float64)["put"] != 5 {
		t.Errorf("snapshot of the store: %v", store)
	}
}
