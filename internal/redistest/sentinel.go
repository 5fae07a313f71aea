package redistest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// SentinelMaster is the name that sentinels know their servers by.
const SentinelMaster = "main"

// A SentinelGroup is a primary, replicas, and three sentinels that watch them.
type SentinelGroup struct {
	Primary, Replica *Server
	Spares           []*Server // further replicas
	Sentinels        []*Server

	config Config
}

// StartSentinels starts a group and waits until its sentinels know each other. They have the password of the servers.
func StartSentinels(tb testing.TB) *SentinelGroup {
	tb.Helper()
	return Config{}.StartSentinels(tb)
}

// StartSentinels is like [StartSentinels].
func (c Config) StartSentinels(tb testing.TB) *SentinelGroup {
	tb.Helper()
	g := &SentinelGroup{config: c, Primary: c.Start(tb)}
	g.Replica = g.startReplica(tb)
	for range c.Spares {
		g.Spares = append(g.Spares, g.startReplica(tb, "replica-priority 200"))
	}
	for range 3 {
		g.Sentinels = append(g.Sentinels, c.launchSentinel(tb, g.Primary))
	}
	for _, s := range g.Sentinels {
		s.await()
		s.until("it knows the others", func() bool {
			quorum, err := s.TryCommand("SENTINEL", "CKQUORUM", SentinelMaster)
			replicas := strings.Count(s.Command("SENTINEL", "REPLICAS", SentinelMaster), "master-link-status ok")
			return err == nil && strings.Contains(quorum, "3 usable") && replicas == 1+c.Spares
		})
	}
	return g
}

// startReplica starts a replica of the primary, and waits until it follows that.
func (g *SentinelGroup) startReplica(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s := g.config.launch(tb, freePort(tb), append(settings, "replicaof "+hostAndPort(g.Primary))...)
	s.await()
	s.until("it follows", func() bool {
		return strings.Contains(s.Command("INFO", "replication"), "master_link_status:up")
	})
	return s
}

func (c Config) launchSentinel(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	port := freePort(tb)
	s := c.new(tb, port)
	s.mode = []string{"--sentinel"}
	lines := append([]string{"bind 127.0.0.1", fmt.Sprintf("port %d", port), "dir " + s.Data}, s.tlsSettings(port)...)
	lines = append(lines, fmt.Sprintf("sentinel monitor %s %s 2", SentinelMaster, hostAndPort(primary)),
		"sentinel down-after-milliseconds "+SentinelMaster+" 1500", "sentinel failover-timeout "+SentinelMaster+" 3000")
	if c.Password != "" {
		lines = append(lines, fmt.Sprintf("requirepass %q", c.Password), fmt.Sprintf("sentinel sentinel-pass %q", c.Password),
			fmt.Sprintf("sentinel auth-pass %s %q", SentinelMaster, c.Password))
	}
	s.configure(lines)
	s.Launch()
	return s
}

func hostAndPort(s *Server) string { return "127.0.0.1 " + s.Port() }

// URL returns what the Redis store is opened with, as the user default of servers and sentinels. It names two of the sentinels.
func (g *SentinelGroup) URL() string {
	return g.URLAs("", g.config.Password, "", g.config.Password)
}

// URLOf is URL with one sentinel, of a group without a password.
func (g *SentinelGroup) URLOf(s *Server) string {
	return g.config.urlAs("+sentinel", "", "", s.Addr) + "/" + SentinelMaster
}

// URLAs is URL for another user of the servers, and of the sentinels.
func (g *SentinelGroup) URLAs(user, password, sentinelUser, sentinelPassword string) string {
	address := g.config.urlAs("+sentinel", user, password, g.Sentinels[0].Addr, g.Sentinels[1].Addr) + "/" + SentinelMaster
	if sentinelPassword == "" {
		return address
	}
	query := url.Values{"sentinel-password": {sentinelPassword}}
	if sentinelUser != "" {
		query.Set("sentinel-user", sentinelUser)
	}
	return address + "?" + query.Encode()
}
