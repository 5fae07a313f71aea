package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A Cluster is a Redis Cluster of three primaries with a replica each.
type Cluster struct {
	Primaries, Replicas []*Server

	config Config
}

// Slots is how many slots a cluster has.
const Slots = 16384

// StartCluster starts a cluster with further settings, and waits until all of its nodes know it.
func StartCluster(tb testing.TB, settings ...string) *Cluster {
	tb.Helper()
	return Config{Settings: settings}.StartCluster(tb)
}

// StartCluster is like [StartCluster].
func (c Config) StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	cluster := &Cluster{config: c}
	for range 3 {
		cluster.Primaries = append(cluster.Primaries, c.launchClusterNode(tb))
		cluster.Replicas = append(cluster.Replicas, c.launchClusterNode(tb))
	}
	for _, s := range cluster.All() {
		s.await()
	}
	cluster.join()
	for _, s := range cluster.All() {
		s.until("it knows its cluster", func() bool { return cluster.isKnownTo(s) })
	}
	return cluster
}

// StartClusterNode starts a cluster of one node, which has all slots.
func StartClusterNode(tb testing.TB) *Server {
	tb.Helper()
	s := Config{}.launchClusterNode(tb)
	s.await()
	s.Command("CLUSTER", "ADDSLOTSRANGE", "0", strconv.Itoa(Slots-1))
	s.until("it has its slots", func() bool { return strings.Contains(s.Command("CLUSTER", "INFO"), "cluster_state:ok") })
	return s
}

func (c Config) launchClusterNode(tb testing.TB) *Server {
	tb.Helper()
	port := freePort(tb)
	// Without a log: to wait for a busy disk can take longer than a node may be silent.
	settings := []string{"appendonly no", "cluster-enabled yes", "cluster-node-timeout 2000", fmt.Sprint("cluster-port ", port)}
	var way *bus
	if c.Divisible {
		way = startBus(tb, port)
		settings = append(settings, fmt.Sprint("cluster-announce-bus-port ", way.port()))
	}
	s := c.launch(tb, freePort(tb), settings...)
	s.busPort, s.bus = port, way
	return s
}

// join makes a cluster of the nodes.
func (c *Cluster) join() {
	for i, s := range c.Primaries {
		s.Command("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.Command("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*Slots/3), strconv.Itoa((i+1)*Slots/3-1))
	}
	for _, s := range c.All()[1:] {
		s.Command("CLUSTER", "MEET", "127.0.0.1", c.Primaries[0].Port(), strconv.Itoa(c.Primaries[0].busPort))
	}
	for i, replica := range c.Replicas {
		id := c.Primaries[i].Command("CLUSTER", "MYID")
		replica.until("it knows its primary", func() bool {
			_, err := replica.TryCommand("CLUSTER", "REPLICATE", id)
			return err == nil
		})
	}
}

// isKnownTo reports whether a node knows who has each slot and, if it is a replica, has the data of its primary.
func (c *Cluster) isKnownTo(s *Server) bool {
	replication := s.Command("INFO", "replication")
	return strings.Contains(s.Command("CLUSTER", "INFO"), "cluster_state:ok") &&
		strings.Count(s.Command("CLUSTER", "SLOTS"), "127.0.0.1") == len(c.All()) &&
		(strings.Contains(replication, "role:master") || strings.Contains(replication, "master_link_status:up"))
}

// All returns all nodes, the primaries first.
func (c *Cluster) All() []*Server { return append(append([]*Server{}, c.Primaries...), c.Replicas...) }

// URL returns what the Redis store is opened with, as the user default. It names two of the nodes.
func (c *Cluster) URL() string { return c.URLAs("", c.config.Password) }

// URLAs is URL for another user.
func (c *Cluster) URLAs(user, password string) string {
	return c.config.urlAs("+cluster", user, password, c.Primaries[0].Addr, c.Primaries[1].Addr)
}

// OwnerOf returns the primary that has the slot of a key.
func (c *Cluster) OwnerOf(key string) *Server {
	var owner *Server
	c.Primaries[0].until("a primary has the slot", func() bool {
		for _, s := range c.Primaries {
			if _, err := s.TryCommand("EXISTS", key); err == nil {
				owner = s
				return true
			}
		}
		return false
	})
	return owner
}

// MoveSlot moves the slot of a key to another primary, key by key, as redis-cli --cluster reshard does.
func (c *Cluster) MoveSlot(key string, to *Server) {
	to.tb.Helper()
	from, slot := c.OwnerOf(key), to.Command("CLUSTER", "KEYSLOT", key)
	to.Command("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Command("CLUSTER", "MYID"))
	from.Command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Command("CLUSTER", "MYID"))
	from.until("its slot is empty", func() bool {
		keys := strings.Fields(from.Command("CLUSTER", "GETKEYSINSLOT", slot, "20"))
		for _, key := range keys {
			from.Command("MIGRATE", "127.0.0.1", to.Port(), key, "0", "5000")
		}
		return len(keys) == 0
	})
	for _, s := range append([]*Server{to, from}, c.Primaries...) {
		s.Command("CLUSTER", "SETSLOT", slot, "NODE", to.Command("CLUSTER", "MYID"))
	}
}

// AwaitPromoted waits until a replica has been made primary, and knows who has each slot.
func (c *Cluster) AwaitPromoted(replica *Server) {
	replica.tb.Helper()
	replica.AwaitPromoted()
	replica.until("it knows its cluster", func() bool {
		info, _ := replica.TryCommand("CLUSTER", "INFO")
		return strings.Contains(info, "cluster_state:ok")
	})
}

// AwaitPromoted waits until a replica has been made primary.
func (s *Server) AwaitPromoted() {
	s.tb.Helper()
	s.until("it is primary", func() bool {
		role, _ := s.TryCommand("ROLE")
		return strings.HasPrefix(role, "master")
	})
}
