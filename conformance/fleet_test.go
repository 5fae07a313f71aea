package conformance_test

import (
	"crypto/rand"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// A fleet is two servers with one Redis and one fleet key, and what balances between them.
type fleet struct {
	redis *redistest.Server
	nodes [2]*harness.Server
	addr  string // of the balancer
	to    atomic.Int32
}

func startFleet(t *testing.T, s settings, flags ...string) *fleet {
	t.Helper()
	key := filepath.Join(t.TempDir(), "fleet.key")
	f := &fleet{redis: redistest.Config{Password: rand.Text()}.Start(t)}
	harness.Reprise(t, "key", "new", key)
	for i, name := range []string{"one", "two"} {
		all := append([]string{"--node", name, "--store", f.redis.URL(), "--fleet-key", key}, flags...)
		f.nodes[i] = s.serve(t, all...)
	}
	f.addr = harness.Relay(t, func() string { return f.nodes[f.to.Load()].Addr })
	return f
}

// TestFleet: a session of one server resumes on the other, which need not have been there when it was made.
func TestFleet(t *testing.T) {
	forEachClient(t, nil, func(t *testing.T, p program, s settings) {
		f := startFleet(t, s)
		c := p.start(t, s)
		r := request{addr: f.addr, name: harness.NameA}
		first := c.connect(t, r)
		first.isFull(t, "not-offered")
		f.nodes[0].AwaitStored(1)
		f.nodes[0].Kill()
		f.to.Store(1)
		second := c.connect(t, r)
		second.isOf(t, first)
		if second.Node != "two" {
			t.Errorf("node %q has answered", second.Node)
		}
		if p.once {
			return
		}
		f.nodes[1].AwaitStored(1)
		f.nodes[0].Restart()
		f.to.Store(0)
		c.connect(t, r).isOf(t, second)
	})
}

// TestSingleUseInFleet: what was used on one server is gone on the other.
func TestSingleUseInFleet(t *testing.T) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		f := startFleet(t, s, "--single-use")
		c := p.start(t, s)
		again := request{addr: f.addr, name: harness.NameA, keep: true}
		c.connect(t, request{addr: f.addr, name: harness.NameA}).isFull(t, "not-offered")
		f.nodes[0].AwaitStored(1)
		f.to.Store(1)
		c.connect(t, again).isResumed(t)
		c.connect(t, again).isFull(t, "used")
		f.to.Store(0)
		c.connect(t, again).isFull(t, "used")
	})
}

// TestDeadStore: without its store a server makes full handshakes.
func TestDeadStore(t *testing.T) {
	forEachClient(t, isAsTold, func(t *testing.T, p program, s settings) {
		f := startFleet(t, s)
		c := p.start(t, s)
		r := request{addr: f.addr, name: harness.NameA}
		c.connect(t, r).isFull(t, "not-offered")
		f.nodes[0].AwaitStored(1)
		f.redis.Kill()
		f.to.Store(1)
		c.connect(t, r).isFull(t, "store-error")
		// What it makes now resumes as long as it waits to be written. When that was given up, the node does not trust it: it
		// can't hear any more what other nodes remove.
		if second := c.connect(t, r); !second.Resumed {
			second.isFull(t, "store-error")
		}
	})
}
