package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
	redisstore "github.com/reprise-tls/reprise/store/redis"
	"github.com/reprise-tls/reprise/store/storetest"
)

// A testCluster is a Redis Cluster of three primaries with a replica each.
type testCluster struct {
	t                   *testing.T
	primaries, replicas []*server
}

// nodeTimeout is how long a node of a cluster may be silent.
const nodeTimeout = 2 * time.Second

// startCluster starts a cluster and waits until all of its nodes know it.
func startCluster(t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	for range 3 {
		c.primaries = append(c.primaries, startClusterNode(t))
		c.replicas = append(c.replicas, startClusterNode(t))
	}
	for i, s := range c.primaries {
		s.command("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		s.command("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*16384/3), fmt.Sprint((i+1)*16384/3-1))
	}
	first := c.primaries[0]
	for _, s := range c.all()[1:] {
		s.command("CLUSTER", "MEET", "127.0.0.1", fmt.Sprint(first.port), fmt.Sprint(first.busPort))
	}
	for i, replica := range c.replicas {
		id := c.primaries[i].command("CLUSTER", "MYID")
		await(t, "the replica to know its primary", func() bool {
			_, err := replica.tryCommand("CLUSTER", "REPLICATE", id)
			return err == nil
		})
	}
	for _, s := range c.all() {
		await(t, "the cluster to be ready", func() bool {
			slots := s.command("CLUSTER", "SLOTS")
			return strings.Contains(s.command("CLUSTER", "INFO"), "cluster_state:ok") && strings.Count(slots, "127.0.0.1") == 6
		})
	}
	for _, s := range c.replicas {
		await(t, "the replica to follow", func() bool { return strings.Contains(s.command("INFO", "replication"), "master_link_status:up") })
	}
	return c
}

func startClusterNode(t *testing.T) *server {
	bus := freePort(t)
	// Without a log: to wait for a busy disk can take longer than a node may be silent.
	s := startServer(t, "--appendonly", "no", "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus), "--cluster-node-timeout",
		fmt.Sprint(nodeTimeout.Milliseconds()), "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
	s.busPort = bus
	return s
}

func (c *testCluster) all() []*server {
	return append(append([]*server{}, c.primaries...), c.replicas...)
}

// url returns the cluster's URL, which names two of its nodes.
func (c *testCluster) url() string {
	return fmt.Sprintf("redis+cluster://%s,%s", c.primaries[0].address(), c.primaries[1].address())
}

// command runs a command of Redis and returns the answer, of arrays all parts.
func (s *server) command(args ...string) string {
	s.t.Helper()
	answer, err := s.tryCommand(args...)
	if err != nil {
		s.t.Fatalf("%s: %v", args[0], err)
	}
	return answer
}

func (s *server) tryCommand(args ...string) (string, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address()}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		ConnWriteTimeout: time.Second, Password: s.password,
	})
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	message, err := client.Do(ctx, client.B().Arbitrary(args[0]).Args(args[1:]...).Build()).ToMessage()
	return flatten(message), err
}

func flatten(m rueidis.RedisMessage) string {
	var all []string
	if fields, err := m.AsStrMap(); err == nil && m.IsMap() {
		for name, value := range fields {
			all = append(all, name, value)
		}
		return strings.Join(all, " ")
	}
	if parts, err := m.ToArray(); err == nil {
		for _, part := range parts {
			all = append(all, flatten(part))
		}
		return strings.Join(all, " ")
	}
	if n, err := m.AsInt64(); err == nil {
		return fmt.Sprint(n)
	}
	text, _ := m.ToString()
	return text
}

// await waits until f returns true.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	t.Run("Suite", func(t *testing.T) {
		var cases atomic.Int64
		prefixes := make(map[reprise.Store]string)
		openPrefix := func(t *testing.T, prefix string) reprise.Store {
			s := open(t, c.url(), redisstore.Options{Prefix: prefix})
			prefixes[s] = prefix
			return s
		}
		storetest.Suite{
			Open:   func(t *testing.T) reprise.Store { return openPrefix(t, fmt.Sprintf("case%d:", cases.Add(1))) },
			Second: func(t *testing.T, s reprise.Store) reprise.Store { return openPrefix(t, prefixes[s]) },
		}.Run(t)
	})
	t.Run("Restart", c.testRestart)
	t.Run("SlotMoves", c.testSlotMoves)
	t.Run("Failover", c.testFailover)
}

// testRestart restarts one primary: its records are of another life then, those of the others not.
func (c *testCluster) testRestart(t *testing.T) {
	s := open(t, c.url(), redisstore.Options{})
	keys := c.keyOfEach(t)
	lives := make(map[*server]uint64)
	for primary, key := range keys {
		await(t, "the life of each primary", func() bool { lives[primary] = s.Incarnation(key); return c.takes(t, s, key) == lives[primary] })
	}
	primary := c.primaries[0]
	primary.kill()
	primary.start()
	await(t, "the cluster to be whole", func() bool { return s.Put(t.Context(), keys[primary], []byte("record"), time.Hour) == nil })
	if life := c.takes(t, s, keys[primary]); life == lives[primary] {
		t.Error("takes are in the same life after a restart")
	}
	for other, key := range keys {
		if life := c.takes(t, s, key); other != primary && life != lives[other] {
			t.Error("takes at another primary are in another life")
		}
	}
}

// takes puts and takes a record, and returns the life that the take was in.
func (c *testCluster) takes(t *testing.T, s *redisstore.Store, key reprise.StoreKey) (life uint64) {
	t.Helper()
	await(t, "a take", func() bool {
		if s.Put(t.Context(), key, []byte("record"), time.Hour) != nil {
			return false
		}
		_, l, ok, err := s.TakeIncarnated(t.Context(), key)
		life = l
		return ok && err == nil
	})
	return life
}

// keyOfEach returns a key of each primary.
func (c *testCluster) keyOfEach(t *testing.T) map[*server]reprise.StoreKey {
	t.Helper()
	keys := make(map[*server]reprise.StoreKey)
	for i := byte(1); len(keys) < len(c.primaries); i++ {
		key := reprise.StoreKey{i}
		for _, primary := range c.primaries {
			if _, err := primary.tryCommand("EXISTS", nameOf(key)); err == nil {
				keys[primary] = key
			}
		}
	}
	return keys
}

func nameOf(key reprise.StoreKey) string { return fmt.Sprintf("%s%x", redisstore.DefaultPrefix, key) }

// testSlotMoves moves a slot with a record in it from one primary to another, slowly.
func (c *testCluster) testSlotMoves(t *testing.T) {
	s := open(t, c.url(), redisstore.Options{})
	from, to := c.primaries[1], c.primaries[2]
	key, record := c.keyOfEach(t)[from], "record"
	if err := s.Put(t.Context(), key, []byte(record), time.Hour); err != nil {
		t.Fatal(err)
	}
	slot := from.command("CLUSTER", "KEYSLOT", nameOf(key))
	to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", from.command("CLUSTER", "MYID"))
	from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.command("CLUSTER", "MYID"))
	c.works(t, s, key, "before the record has moved")
	if err := s.Put(t.Context(), key, []byte(record), time.Hour); err != nil {
		t.Fatal(err)
	}
	_ = from.command("MIGRATE", "127.0.0.1", fmt.Sprint(to.port), nameOf(key), "0", "1000")
	if got, ok, err := s.Get(t.Context(), key); !ok || err != nil || string(got) != record {
		t.Errorf("Get of a record that has moved: %q, %v, %v", got, ok, err)
	}
	c.works(t, s, key, "after the record has moved")
	for _, node := range []*server{to, from, c.primaries[0]} {
		node.command("CLUSTER", "SETSLOT", slot, "NODE", to.command("CLUSTER", "MYID"))
	}
	c.works(t, s, key, "after the slot has moved")
}

// works puts a record, gets it and takes it.
func (c *testCluster) works(t *testing.T, s *redisstore.Store, key reprise.StoreKey, when string) {
	t.Helper()
	err := s.Put(t.Context(), key, []byte("record"), time.Hour)
	_, got, getErr := s.Get(t.Context(), key)
	_, _, taken, takeErr := s.TakeIncarnated(t.Context(), key)
	if err := errors.Join(err, getErr, takeErr); err != nil || !got || !taken {
		t.Errorf("%s: got %v, taken %v: %v", when, got, taken, err)
	}
}

// testFailover kills a primary for good.
func (c *testCluster) testFailover(t *testing.T) {
	s := open(t, c.url(), redisstore.Options{})
	key := c.keyOfEach(t)[c.primaries[0]]
	life := c.takes(t, s, key)
	c.primaries[0].kill()
	promoted := c.replicas[0]
	await(t, "the replica to be made primary", func() bool {
		role, _ := promoted.tryCommand("ROLE")
		info, _ := promoted.tryCommand("CLUSTER", "INFO")
		return strings.HasPrefix(role, "master") && strings.Contains(info, "cluster_state:ok")
	})
	back := time.Now()
	if after := c.takes(t, s, key); after == life {
		t.Error("takes are in the same life after a failover")
	}
	if waited := time.Since(back); waited > 2*time.Second {
		t.Errorf("the store worked again after %v", waited)
	} else {
		t.Logf("the store worked again %v after the failover", waited)
	}
}

func TestNoCluster(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	for _, url := range []string{"redis+cluster://%s", "redis+sentinel://%s/main"} {
		s, err := redisstore.Open(fmt.Sprintf(url, server.address()), redisstore.Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s opened a server that is none", url)
		}
	}
}

// A sentinelGroup is a primary, a replica, and three sentinels that watch them.
type sentinelGroup struct {
	primary, replica *server
	sentinels        []*server
}

func startSentinels(t *testing.T) *sentinelGroup {
	t.Helper()
	g := &sentinelGroup{primary: startServer(t, "--repl-diskless-sync-delay", "0")}
	g.replica = startServer(t, "--replicaof", fmt.Sprintf("127.0.0.1 %d", g.primary.port))
	await(t, "the replica to follow", func() bool {
		return strings.Contains(g.replica.command("INFO", "replication"), "master_link_status:up")
	})
	for range 3 {
		g.sentinels = append(g.sentinels, startSentinel(t, g.primary.port))
	}
	for _, s := range g.sentinels {
		await(t, "the sentinels to know each other", func() bool {
			quorum, err := s.tryCommand("SENTINEL", "CKQUORUM", "main")
			return err == nil && strings.Contains(quorum, "3 usable") && s.command("SENTINEL", "REPLICAS", "main") != ""
		})
	}
	return g
}

func startSentinel(t *testing.T, primary int) *server {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	config := filepath.Join(dir, "sentinel.conf")
	err := os.WriteFile(config, fmt.Appendf(nil, `port %d
bind 127.0.0.1
dir %s
sentinel monitor main 127.0.0.1 %d 2
sentinel down-after-milliseconds main 1500
sentinel failover-timeout main 3000
`, port, dir, primary), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, port, []string{config, "--sentinel"}, "Sentinel ID is")
}

func (g *sentinelGroup) url() string {
	return fmt.Sprintf("redis+sentinel://%s,%s/main", g.sentinels[0].address(), g.sentinels[1].address())
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	g := startSentinels(t)
	s := open(t, g.url(), redisstore.Options{})
	c := &testCluster{t: t}
	key := reprise.StoreKey{1}
	life := c.takes(t, s, key)
	await(t, "the life of the primary", func() bool { return s.Incarnation(key) == life })
	g.primary.kill()
	await(t, "the replica to be made primary", func() bool {
		role, _ := g.replica.tryCommand("ROLE")
		return strings.HasPrefix(role, "master")
	})
	back := time.Now()
	if after := c.takes(t, s, key); after == life {
		t.Error("takes are in the same life after a failover")
	}
	if waited := time.Since(back); waited > 2*time.Second {
		t.Errorf("the store worked again after %v", waited)
	} else {
		t.Logf("the store worked again %v after the failover", waited)
	}
}
