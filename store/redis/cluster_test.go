package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
	"github.com/reprise-tls/reprise/store/storetest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	t.Run("Suite", func(t *testing.T) {
		var cases atomic.Int64
		prefixes := make(map[reprise.Store]string)
		openPrefix := func(t *testing.T, prefix string) reprise.Store {
			s := open(t, c.URL(), redisstore.Options{Prefix: prefix})
			prefixes[s] = prefix
			return s
		}
		storetest.Suite{
			Open:   func(t *testing.T) reprise.Store { return openPrefix(t, fmt.Sprintf("case%d:", cases.Add(1))) },
			Second: func(t *testing.T, s reprise.Store) reprise.Store { return openPrefix(t, prefixes[s]) },
		}.Run(t)
	})
	t.Run("Partition", func(t *testing.T) { testPartition(t, c) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, c) })
	t.Run("PrimaryHangs", func(t *testing.T) { testPrimaryHangs(t, c) })
	t.Run("SlotMoves", func(t *testing.T) { testSlotMoves(t, c) })
	t.Run("SlotMovesUnderLoad", func(t *testing.T) { testSlotMovesUnderLoad(t, c) })
	t.Run("Failover", func(t *testing.T) { testFailover(t, c) })
}

// testPartition: partitions are primaries.
func testPartition(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), redisstore.Options{})
	for primary, key := range keyOfEach(t, c) {
		await(t, "the slots of "+primary.Addr, func() bool { return s.Partition(key) == primary.Addr })
	}
}

// testRestart restarts one primary: its records are of another life then, those of the others not.
func testRestart(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), redisstore.Options{})
	keys := keyOfEach(t, c)
	lives := make(map[*redistest.Server]uint64)
	for primary, key := range keys {
		await(t, "the life of each primary", func() bool { lives[primary] = s.Incarnation(key); return takes(t, s, key) == lives[primary] })
	}
	primary := c.Primaries[0]
	primary.Kill()
	primary.Restart()
	await(t, "the cluster to be whole", func() bool { return s.Put(t.Context(), keys[primary], []byte("record"), time.Hour) == nil })
	if life := takes(t, s, keys[primary]); life == lives[primary] {
		t.Error("takes are in the same life after a restart")
	}
	for other, key := range keys {
		if life := takes(t, s, key); other != primary && life != lives[other] {
			t.Error("takes at another primary are in another life")
		}
	}
}

// testPrimaryHangs: gets from the others in the same batch are neither failed nor held up.
func testPrimaryHangs(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), redisstore.Options{})
	var keys []reprise.StoreKey
	hangs := 0
	for primary, key := range keyOfEach(t, c) {
		if primary == c.Primaries[0] {
			hangs = len(keys)
		}
		keys = append(keys, key)
		if err := s.Put(t.Context(), key, key[:], time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	c.Primaries[0].Signal(syscall.SIGSTOP)
	defer c.Primaries[0].Signal(syscall.SIGCONT)
	const timeout = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	began := time.Now()
	var mu sync.Mutex
	s.GetBatch(ctx, keys, func(i int, record []byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(began)
		if i == hangs && (!errors.Is(err, context.DeadlineExceeded) || took < timeout) ||
			i != hangs && (err != nil || string(record) != string(keys[i][:]) || took >= timeout) {
			t.Errorf("get %d, of which %d hangs: %x, %v, after %v", i, hangs, record, err, took)
		}
	})
}

// TestClusterCutOff cuts a primary off from its cluster, which makes a replica primary. It still answers, reads too, and does not know better; what
// it says of itself and of the others is not believed, and sessions are not looked for there.
func TestClusterCutOff(t *testing.T) {
	t.Parallel()
	c := redistest.Config{Divisible: true, Settings: []string{"cluster-allow-reads-when-down yes"}}.StartCluster(t)
	keys := reprise.RandomFleetKeys()
	a, b := newNode(t, c.URL(), keys), newNode(t, c.URL(), keys)
	a.follows(true)
	b.follows(true)
	alone := c.Primaries[0]
	full := func() *reprise.Session {
		for {
			session := a.full()
			if _, err := alone.TryCommand("EXISTS", a.recordOf(session)); err == nil {
				return session
			}
		}
	}
	session, kept := full(), full()
	b.resumes(session, reprise.Resumed) // and has it in its internal cache

	c.CutOff(alone)
	b.follows(false)
	c.AwaitPromoted(c.Replicas[0])
	b.follows(true)
	a.Remove(session)
	if err := a.binding.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.loses(session)
	b.recovers(session, reprise.Unknown)
	a.follows(true)
	for range 20 {
		b.resumes(a.full(singleUse), reprise.Resumed)
	}
	wrong, right, all := 0, 0, 0
	for begun := time.Now(); time.Since(begun) < 8*time.Second; time.Sleep(10 * time.Millisecond) {
		if b.resume(session) == reprise.Resumed {
			wrong++
		}
		b.Forget(kept.ID())
		if b.resume(kept) == reprise.Resumed {
			right++
		}
		all++
	}
	if wrong > 0 || right < all*9/10 {
		t.Errorf("of %d times the session that was removed resumed %d times, and the other one %d times", all, wrong, right)
	}
	if role := alone.Command("ROLE"); !strings.HasPrefix(role, "master") {
		t.Errorf("the one that is cut off is %q; the test is of one that does not know better", role)
	}
	c.Rejoin()
	a.resumes(a.full(), reprise.Resumed)
}

// TestClusterDown: while a part of the slots is lost, the primaries of the others are asked on the connections there are, and not on
// new ones again and again.
func TestClusterDown(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, "cluster-replica-no-failover yes")
	n := newNode(t, c.URL(), reprise.RandomFleetKeys())
	n.follows(true)
	c.Primaries[2].Kill()
	n.follows(false)
	connections := func() int {
		_, after, _ := strings.Cut(c.Primaries[0].Command("INFO", "stats"), "total_connections_received:")
		count, err := strconv.Atoi(strings.Fields(after)[0])
		if err != nil {
			t.Fatal(err)
		}
		return count
	}
	await(t, "the cluster to be down", func() bool { return strings.Contains(c.Primaries[0].Command("CLUSTER", "INFO"), "cluster_state:fail") })
	before := connections()
	time.Sleep(3 * time.Second)
	if more := connections() - before; more > 10 {
		t.Errorf("%d connections in 3 seconds to a primary that is well", more)
	}
	c.Primaries[2].Restart()
	n.follows(true)
}

// takes puts and takes a record, and returns the life that the take was in.
func takes(t *testing.T, s *redisstore.Store, key reprise.StoreKey) (life uint64) {
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

// worksAgain waits until the store works after a failover, and fails if that takes too long.
func worksAgain(t *testing.T, s *redisstore.Store, key reprise.StoreKey, before uint64) {
	t.Helper()
	back := time.Now()
	if after := takes(t, s, key); after == before {
		t.Error("takes are in the same life after a failover")
	}
	if waited := time.Since(back); waited > 2*time.Second {
		t.Errorf("the store worked again after %v", waited)
	} else {
		t.Logf("the store worked again %v after the failover", waited)
	}
}

// keyOfEach returns a key of each primary.
func keyOfEach(t *testing.T, c *redistest.Cluster) map[*redistest.Server]reprise.StoreKey {
	t.Helper()
	keys := make(map[*redistest.Server]reprise.StoreKey)
	for i := byte(1); len(keys) < len(c.Primaries); i++ {
		key := reprise.StoreKey{i}
		for _, primary := range c.Primaries {
			if _, err := primary.TryCommand("EXISTS", nameOf(key)); err == nil {
				keys[primary] = key
			}
		}
	}
	return keys
}

func nameOf(key reprise.StoreKey) string { return fmt.Sprintf("%s%x", redisstore.DefaultPrefix, key) }

// testSlotMoves moves a slot with a record in it from one primary to another, slowly.
func testSlotMoves(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), redisstore.Options{})
	from, to := c.Primaries[1], c.Primaries[2]
	key, record := keyOfEach(t, c)[from], "record"
	if err := s.Put(t.Context(), key, []byte(record), time.Hour); err != nil {
		t.Fatal(err)
	}
	slot := from.Command("CLUSTER", "KEYSLOT", nameOf(key))
	to.Command("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Command("CLUSTER", "MYID"))
	from.Command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Command("CLUSTER", "MYID"))
	works(t, s, key, "before the record has moved")
	if err := s.Put(t.Context(), key, []byte(record), time.Hour); err != nil {
		t.Fatal(err)
	}
	_ = from.Command("MIGRATE", "127.0.0.1", to.Port(), nameOf(key), "0", "1000")
	if got, ok, err := s.Get(t.Context(), key); !ok || err != nil || string(got) != record {
		t.Errorf("Get of a record that has moved: %q, %v, %v", got, ok, err)
	}
	works(t, s, key, "after the record has moved")
	for _, node := range []*redistest.Server{to, from, c.Primaries[0]} {
		node.Command("CLUSTER", "SETSLOT", slot, "NODE", to.Command("CLUSTER", "MYID"))
	}
	works(t, s, key, "after the slot has moved")
}

// works puts a record, gets it and takes it.
func works(t *testing.T, s *redisstore.Store, key reprise.StoreKey, when string) {
	t.Helper()
	err := s.Put(t.Context(), key, []byte("record"), time.Hour)
	_, got, getErr := s.Get(t.Context(), key)
	_, _, taken, takeErr := s.TakeIncarnated(t.Context(), key)
	if err := errors.Join(err, getErr, takeErr); err != nil || !got || !taken {
		t.Errorf("%s: got %v, taken %v: %v", when, got, taken, err)
	}
}

// testFailover kills a primary for good.
func testFailover(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), redisstore.Options{})
	key := keyOfEach(t, c)[c.Primaries[0]]
	life := takes(t, s, key)
	c.Primaries[0].Kill()
	c.AwaitPromoted(c.Replicas[0])
	worksAgain(t, s, key, life)
}

func TestNoCluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, url := range []string{"redis+cluster://%s", "redis+sentinel://%s/main"} {
		s, err := redisstore.Open(fmt.Sprintf(url, server.Addr), redisstore.Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s opened a server that is none", url)
		}
	}
}
