package fleet_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// TestRedisOverTLS: nodes share sessions by a cluster, and by servers that sentinels watch, which speak TLS and want a password.
func TestRedisOverTLS(t *testing.T) {
	authority, _ := certtest.Shared(t)
	config := redistest.Config{Authority: authority, Password: "a password/with+signs"}
	for name, url := range map[string]func(t *testing.T) string{
		"cluster":   func(t *testing.T) string { return config.StartCluster(t).URL() },
		"sentinels": func(t *testing.T) string { return config.StartSentinels(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, url(t), []string{"one", "two"}, append(patient, "--store-ca", certtest.WriteAuthorities(t, authority))...)
			client := f.ClientConfig(tls.VersionTLS12)
			_, _, err := f.Ask(t.Context(), f.Nodes[0].Address, client)
			must(t, err)
			for end := time.Now().Add(harness.Patience); ; time.Sleep(20 * time.Millisecond) {
				counters, err := f.Nodes[1].StoreCounters()
				must(t, err)
				if counters["notices"] > 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the other node was told of no session: %v", counters)
				}
			}
			if a, _, err := f.Ask(t.Context(), f.Nodes[1].Address, client); !a.Resumed || err != nil {
				t.Errorf("on the other node: %+v, %v", a, err)
			}
		})
	}
}
