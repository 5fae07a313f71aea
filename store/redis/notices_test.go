package redisstore_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// A node is a server of a fleet, as far as its sessions go.
type node struct {
	*reprise.Cache
	t       testing.TB
	store   *redisstore.Store
	binding *reprise.StoreBinding
}

// newFleet returns two nodes that share a store and the fleet keys.
func newFleet(t testing.TB, url string) []*node {
	t.Helper()
	keys := reprise.RandomFleetKeys()
	nodes := []*node{newNode(t, url, keys), newNode(t, url, keys)}
	for _, n := range nodes {
		n.follows(true)
	}
	return nodes
}

func newNode(t testing.TB, url string, keys *reprise.FleetKeys) *node {
	t.Helper()
	// A deadline for a machine that is busy with many tests.
	return newNodeWith(t, url, reprise.Options{Keys: keys, LookupTimeout: time.Second})
}

func newNodeWith(t testing.TB, url string, c reprise.Options) *node {
	t.Helper()
	n := &node{t: t}
	var err error
	if n.store, err = redisstore.Open(url, secure(t)); err != nil {
		t.Fatal(err)
	}
	c.Logger = slog.New(slog.DiscardHandler)
	if n.Cache, err = reprise.New(c); err != nil {
		t.Fatal(err)
	}
	if n.binding, err = reprise.BindStore(n.Cache, n.store, reprise.StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

func (n *node) close() {
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	_ = n.binding.Close(ctx) // what a dead store has not taken is no failure of the test
	n.Cache.Close()
	n.store.Close()
}

// follows waits until the node follows the store, or does not.
func (n *node) follows(want bool) {
	n.t.Helper()
	await(n.t, fmt.Sprintf("a node whose following is %v", want), func() bool { return n.binding.Stats().Following == want })
}

// full makes a session, and waits until it is stored.
func (n *node) full(change ...func(*reprise.SessionParams)) *reprise.Session {
	n.t.Helper()
	s := n.fullUnstored(change...)
	if err := n.binding.Flush(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) fullUnstored(change ...func(*reprise.SessionParams)) *reprise.Session {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), reprise.ConnectionInfo{})
	if err != nil {
		n.t.Fatal(err)
	}
	p := reprise.SessionParams{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32)}
	for _, f := range change {
		f(&p)
	}
	s, err := conn.NewSession(p, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	conn.Complete(true)
	return s
}

func singleUse(p *reprise.SessionParams) { p.SingleUse = true }

// resume offers a session to the node.
func (n *node) resume(s *reprise.Session) reprise.Reason {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), reprise.ConnectionInfo{})
	if err != nil {
		n.t.Fatal(err)
	}
	found, reason := conn.Lookup(s.ID().Bytes(), reprise.Offer{Version: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}})
	if reason == reprise.Resumed {
		reason = conn.Take(found)
	}
	if reason == reprise.Resumed {
		conn.Resumed(found)
	}
	conn.Complete(true)
	return reason
}

func (n *node) resumes(s *reprise.Session, want reprise.Reason) {
	n.t.Helper()
	if reason := n.resume(s); reason != want {
		n.t.Errorf("%v, want %v", reason, want)
	}
}

// loses waits until a session is not resident any more, and returns how long that was.
func (n *node) loses(s *reprise.Session) time.Duration {
	n.t.Helper()
	begun := time.Now()
	for n.Lookup(s.ID()) != nil {
		if time.Since(begun) > 10*time.Second {
			n.t.Fatal("a session stays resident that was removed elsewhere")
		}
		time.Sleep(50 * time.Microsecond)
	}
	return time.Since(begun)
}

func (n *node) recordOf(s *reprise.Session) string { return nameOf(n.Keys().StoreKeys(s.ID())[0]) }

// TestRemovalsReachAllNodes removes sessions in each way there is, and looks how long other nodes keep them.
func TestRemovalsReachAllNodes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	testRemovals(t, server.URL(), func(name string) { server.Command("DEL", name) })
}

func testRemovals(t *testing.T, url string, del func(name string)) {
	nodes := newFleet(t, url)
	a, b := nodes[0], nodes[1]
	for way, remove := range map[string]func(s *reprise.Session){
		"by a node":      func(s *reprise.Session) { a.Remove(s) },
		"by another key": func(s *reprise.Session) { a.RemoveWith(s, reprise.RemovedRevoked) },
		"by a client":    func(s *reprise.Session) { del(a.recordOf(s)) },
		"by take": func(s *reprise.Session) {
			if _, ok, err := a.store.Take(t.Context(), a.Keys().StoreKeys(s.ID())[0]); !ok || err != nil {
				t.Error(ok, err)
			}
		},
	} {
		var took []time.Duration
		for range 5 {
			before := b.binding.Stats().Notices
			s, other := a.full(), a.full()
			await(t, "the puts to be told", func() bool { return b.binding.Stats().Notices == before+2 })
			b.resumes(s, reprise.Resumed)
			b.resumes(other, reprise.Resumed)
			if a.Lookup(s.ID()) == nil || b.Lookup(s.ID()) == nil {
				t.Fatal("the session is not resident on both nodes")
			}
			remove(s)
			took = append(took, b.loses(s))
			if longest := took[len(took)-1]; longest > time.Second {
				t.Errorf("%s: the session was resident for %v more", way, longest)
			}
			a.loses(s)
			b.resumes(s, reprise.Unknown)
			if b.Lookup(other.ID()) == nil {
				t.Errorf("%s: another session is not resident any more", way)
			}
		}
		slices.Sort(took)
		t.Logf("%s: gone from the other node after %v to %v, median %v", way, took[0], took[len(took)-1], took[len(took)/2])
	}
	if stats := a.binding.Stats(); stats.NoticesLost != 0 || !stats.Following {
		t.Errorf("%+v", stats)
	}
}

// TestPutsStayResident checks that what a node puts stays in its internal cache, and that a node is told of what others put
// at most.
func TestPutsStayResident(t *testing.T) {
	t.Parallel()
	nodes := newFleet(t, redistest.Start(t).URL())
	var sessions []*reprise.Session
	for range 500 {
		sessions = append(sessions, nodes[0].fullUnstored())
	}
	if err := nodes[0].binding.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // for notices that there should not be
	for _, s := range sessions {
		if nodes[0].Lookup(s.ID()) == nil {
			t.Fatal("a session that was put is not resident any more")
		}
	}
	if told := nodes[0].binding.Stats().Notices; told != 0 {
		t.Errorf("the node was told of %d puts of its own", told)
	}
}

// TestNoticesLost cuts the connection that notices come by. While it is cut, and the server can't be reached, a session is removed.
func TestNoticesLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := startProxy(t, server.Addr)
	keys := reprise.RandomFleetKeys()
	a, b := newNode(t, server.URL(), keys), newNode(t, "redis://"+proxy.address(), keys)
	a.follows(true)
	b.follows(true)
	gone, kept := a.full(), a.full()
	b.resumes(gone, reprise.Resumed)
	b.resumes(kept, reprise.Resumed)

	for name, fault := range map[string]func(){"cut": proxy.refuse, "silent": proxy.swallow} {
		begun := time.Now()
		fault()
		b.follows(false)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s: the loss of notices was noticed after %v", name, took)
		} else {
			t.Logf("%s: the loss of notices was noticed after %v", name, took)
		}
		a.Remove(gone)
		a.loses(gone)
		if reason := b.resume(gone); reason == reprise.Resumed {
			t.Errorf("%s: a session resumed that may have been removed", name)
		}
		proxy.pass()
		b.follows(true)
		b.recovers(gone, reprise.Unknown)
		before := b.binding.Stats().Gets
		b.resumes(kept, reprise.Resumed)
		b.resumes(kept, reprise.Resumed)
		if gets := b.binding.Stats().Gets - before; gets != 1 {
			t.Errorf("%s: %d gets of a session that stayed, want 1", name, gets)
		}
		gone = a.full()
		b.resumes(gone, reprise.Resumed)
	}
}

// recovers offers a session until the store can be asked, and fails if that takes too long.
func (n *node) recovers(s *reprise.Session, want reprise.Reason) {
	n.t.Helper()
	begun := time.Now()
	for {
		reason := n.resume(s)
		took := time.Since(begun)
		switch {
		case took > 2*time.Second:
			n.t.Errorf("still %v after %v", reason, took)
			return
		case reason == want:
			return
		case reason != reprise.StoreError && reason != reprise.StoreTimeout:
			n.t.Errorf("%v, want %v", reason, want)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// refuses offers a session that must not resume, when the store can be asked.
func (n *node) refuses(s *reprise.Session) {
	n.t.Helper()
	await(n.t, "an answer of the store", func() bool {
		reason := n.resume(s)
		if reason == reprise.Resumed {
			n.t.Error("a session resumed that must not")
		}
		return reason != reprise.StoreError && reason != reprise.StoreTimeout
	})
}

// TestNoticeConnectionKilled kills the connection by CLIENT KILL, as an operator or a failover does, and removes a session before
// there is another one.
func TestNoticeConnectionKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := newFleet(t, server.URL())
	a, b := nodes[0], nodes[1]
	for range 5 {
		gone, kept := a.full(), a.full()
		b.resumes(gone, reprise.Resumed)
		b.resumes(kept, reprise.Resumed)
		lost := b.binding.Stats().NoticesLost
		killConnections(t, server, true)
		server.Command("DEL", a.recordOf(gone))
		await(t, "the loss to be noticed", func() bool { return b.binding.Stats().NoticesLost > lost })
		b.recovers(gone, reprise.Unknown)
		b.resumes(kept, reprise.Resumed)
		a.follows(true)
		b.follows(true)
	}
}

// killConnections kills the connections that notices come by, or the others.
func killConnections(t *testing.T, server *redistest.Server, forNotices bool) {
	t.Helper()
	list := server.Command("CLIENT", "LIST")
	killed := 0
	for line := range strings.Lines(list) {
		isForNotices := strings.Contains(line, "flags=tB") || strings.Contains(line, "flags=Bt")
		if isForNotices == forNotices && !strings.Contains(line, "cmd=client|list") {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			server.Command("CLIENT", "KILL", "ID", id)
			killed++
		}
	}
	if killed == 0 {
		t.Fatalf("no connections to kill in\n%s", list)
	}
}

// TestFlushAll checks that sessions do not resume after FLUSHALL, of which Redis tells in another way than of removals.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := newFleet(t, server.URL())
	s := nodes[0].full()
	nodes[1].resumes(s, reprise.Resumed)
	server.Command("FLUSHALL")
	for _, n := range nodes {
		await(t, "the flush to be noticed", func() bool { return n.binding.Stats().NoticesLost > 0 })
		n.resumes(s, reprise.Unknown)
	}
}
