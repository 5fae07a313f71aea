package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// overTLS is how servers are that speak TLS and want a password.
func overTLS(t *testing.T) redistest.Config {
	authority, _ := certtest.Shared(t)
	return redistest.Config{Authority: authority, Password: "of-the-operator"}
}

// TestClusterOverTLS is a cluster with TLS, and a user that may do what README.md says.
func TestClusterOverTLS(t *testing.T) {
	t.Parallel()
	c := overTLS(t).StartCluster(t)
	rule, _ := rules(t)
	setUser(c.All(), rule...)
	url := c.URLAs(user, userPassword)
	t.Run("Connections", func(t *testing.T) {
		open(t, url, secure(t))
		for _, primary := range c.Primaries {
			if strings.Count(primary.Command("CLIENT", "LIST"), "user="+user) == 0 {
				t.Error("Open has not connected to a primary")
			}
		}
	})
	t.Run("Rights", func(t *testing.T) {
		testEnough(t, c.All(), url)
		testNeeded(t, c.All(), url, rule, "+select", "+cluster|shards")
	})
	del := func(name string) {
		for _, s := range c.All() {
			_, _ = s.TryCommand("DEL", name) // which only one does
		}
	}
	t.Run("Removals", func(t *testing.T) { testRemovals(t, url, del) })
	t.Run("Revocation", func(t *testing.T) { testRevocation(t, url) })

	nodes := newFleet(t, url)
	c.Primaries[0].Kill()
	c.AwaitPromoted(c.Replicas[0])
	for _, n := range nodes {
		n.follows(true)
	}
	t.Run("RemovalsAfterFailover", func(t *testing.T) { testRemovals(t, url, del) })
	t.Run("RevocationAfterFailover", func(t *testing.T) { testRevocation(t, url) })
}

// TestSentinelsOverTLS is servers with TLS that sentinels watch, and users of both that may do what README.md says. In the end the
// primary fails over.
func TestSentinelsOverTLS(t *testing.T) {
	t.Parallel()
	g := overTLS(t).StartSentinels(t)
	ofServers, ofSentinels := rules(t)
	servers := []*redistest.Server{g.Primary, g.Replica}
	setUser(servers, ofServers...)
	setUser(g.Sentinels, ofSentinels...)
	url := g.URLAs(user, userPassword, user, userPassword)
	t.Run("Rights", func(t *testing.T) {
		testEnough(t, servers, url)
		testNeeded(t, servers, url, ofServers, "+select", "+cluster|slots", "+cluster|shards", "+cluster|info")
		testNeeded(t, g.Sentinels, url, ofSentinels)
	})
	t.Run("Removals", func(t *testing.T) { testRemovals(t, url, func(name string) { g.Primary.Command("DEL", name) }) })
	t.Run("Revocation", func(t *testing.T) { testRevocation(t, url) })

	nodes := newFleet(t, url)
	g.Primary.Kill()
	g.Replica.AwaitPromoted()
	for _, n := range nodes {
		n.follows(true)
	}
	t.Run("RemovalsAfterFailover", func(t *testing.T) { testRemovals(t, url, func(name string) { g.Replica.Command("DEL", name) }) })
	t.Run("RevocationAfterFailover", func(t *testing.T) { testRevocation(t, url) })
}

// testRevocation revokes at one node what another one has. That is told of each revocation: else it would hear of one a second.
func testRevocation(t *testing.T, url string) {
	keys := reprise.RandomFleetKeys()
	a, b := newRevoker(t, url, keys), newRevoker(t, url, keys)
	defer a.end()
	defer b.end()
	await(t, "a node that follows", func() bool { return b.StoreBinding.Stats().Following })
	revokes(t, a, b)
	begun := time.Now()
	for i := range byte(4) {
		before := b.StoreBinding.Stats().Revocations
		if err := a.Revoke(t.Context(), reprise.RevokeContext([]byte{i})); err != nil {
			t.Fatal(err)
		}
		b.hears(before)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("four revocations were heard of after %v", took)
	}
}
