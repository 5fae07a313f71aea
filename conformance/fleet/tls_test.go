package fleet_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/fleet"
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
			awaitCounters(t, f.Nodes[1], "it is told of all sessions", func(counters map[string]float64) bool { return counters["following"] == 1 })
			_, _, err := f.Ask(t.Context(), f.Nodes[0].Address, client)
			must(t, err)
			awaitCounters(t, f.Nodes[0], "it has written the session", func(counters map[string]float64) bool { return counters["queue_length"] == 0 })
			awaitCounters(t, f.Nodes[1], "it was told of the session", func(counters map[string]float64) bool { return counters["notices"] > 0 })
			if a, _, err := f.Ask(t.Context(), f.Nodes[1].Address, client); !a.Resumed || err != nil {
				t.Errorf("on the other node: %+v, %v", a, err)
			}
		})
	}
}

// awaitCounters waits until the counters of a node's store are as they should be.
func awaitCounters(t *testing.T, n *fleet.Node, what string, are func(counters map[string]float64) bool) {
	t.Helper()
	for end := time.Now().Add(harness.Patience); ; time.Sleep(20 * time.Millisecond) {
		counters, err := n.StoreCounters()
		must(t, err)
		if are(counters) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("node %s: waited in vain until %s: %v", n.Name, what, counters)
		}
	}
}
