package fleet_test

import (
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// A control is a node that asks no store, and a client of it. How long its handshakes take tells what the machine is up to: it
// may be busy with other tests.
type control struct {
	mu   sync.Mutex
	took []measured
}

type measured struct{ begun, ended time.Time }

func startControl(t *testing.T) *control {
	t.Helper()
	f := start(t, "memory:", []string{"control"})
	c := &control{}
	stop := make(chan struct{})
	var client sync.WaitGroup
	client.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			begun := time.Now()
			if _, took, err := f.Ask(t.Context(), f.Nodes[0].Address, f.ClientConfig(tls.VersionTLS13)); err == nil {
				c.add(measured{begun, begun.Add(took)})
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		client.Wait()
	})
	return c
}

func (c *control) add(m measured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, m)
}

// slowest returns the longest that a handshake has taken that ended after a moment.
func (c *control) slowest(since time.Time) (slowest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.took {
		if m.ended.After(since) {
			slowest = max(slowest, m.ended.Sub(m.begun))
		}
	}
	return slowest
}

// recoversWithin returns how long it may take until sessions are shared again that were to be since a moment. On a machine where a
// handshake alone takes almost as long as the lookup deadline, lookups fail for that, and the breaker needs another probe.
func (c *control) recoversWithin(since time.Time) time.Duration {
	if c.slowest(since) > reprise.DefaultLookupTimeout/2 {
		return 2 * recovery
	}
	return recovery
}
