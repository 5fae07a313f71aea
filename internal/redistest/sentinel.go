package redistest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// SentinelMaster is the name that sentinels know their servers by.
const SentinelMaster = "main"

// A SentinelGroup is a primary, a replica, and three sentinels that watch them.
type SentinelGroup struct {
	Primary, Replica *Server
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
	g.Replica = c.launch(tb, freePort(tb), "replicaof "+hostAndPort(g.Primary))
	g.Replica.await()
	g.Replica.until("it follows", func() bool {
		return strings.Contains(g.Replica.Command("INFO", "replication"), "master_link_status:up")
	})
	for range 3 {
		g.Sentinels = append(g.Sentinels, c.launchSentinel(tb, g.Primary))
	}
	for _, s := range g.Sentinels {
		s.await()
		s.until("it knows the others", func() bool {
			quorum, err := s.TryCommand("SENTINEL", "CKQUORUM", SentinelMaster)
			return err == nil && strings.Contains(quorum, "3 usable") && s.Command("SENTINEL", "REPLICAS", SentinelMaster) != ""
		})
	}
	return g
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
