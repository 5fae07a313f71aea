package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
	"github.com/reprise-tls/reprise/store/storetest"
)

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	var cases atomic.Int64
	prefixes := make(map[reprise.Store]string)
	openPrefix := func(t *testing.T, prefix string) reprise.Store {
		s := open(t, server.URL(), redisstore.Options{Prefix: prefix})
		prefixes[s] = prefix
		return s
	}
	storetest.Suite{
		Open: func(t *testing.T) reprise.Store {
			return openPrefix(t, fmt.Sprintf("case[%d]*?\\:", cases.Add(1)))
		},
		Reopen: func(t *testing.T, s reprise.Store) reprise.Store {
			server.Kill()
			server.Restart()
			return openPrefix(t, prefixes[s])
		},
		Second: func(t *testing.T, s reprise.Store) reprise.Store {
			return openPrefix(t, prefixes[s])
		},
	}.Run(t)
}

func TestKeysAndLifetimesInRedis(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(t, server, "")
	s := open(t, server.URL(), redisstore.Options{})
	if err := s.Put(t.Context(), reprise.StoreKey{0xab, 31: 1}, []byte("\x00record\r\n"), 1500*time.Microsecond+time.Hour); err != nil {
		t.Fatal(err)
	}
	name := "reprise:ab" + strings.Repeat("0", 60) + "01"
	value, err := client.Do(t.Context(), client.B().Get().Key(name).Build()).ToString()
	if value != "\x00record\r\n" || err != nil {
		t.Errorf("the value under %s is %q, %v", name, value, err)
	}
	left, err := client.Do(t.Context(), client.B().Pttl().Key(name).Build()).AsInt64()
	if left > 3_600_002 || left < 3_590_000 || err != nil {
		t.Errorf("the key lives for %d ms more, %v; want an hour and 2 ms", left, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping of a store that was closed returned no error")
	}
}

// TestOneCommandEach: each operation is one command of Redis, besides what a take's script asks there, and two gets together are two.
func TestOneCommandEach(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstore.Options{})
	awaitFollowing(t, s) // then it is connected
	key, ctx := reprise.StoreKey{1}, t.Context()
	for name, test := range map[string]struct {
		call func() error
		want string
	}{
		"put": {func() error { return s.Put(ctx, key, []byte("record"), time.Hour) }, "set"},
		"get": {func() error { _, _, err := s.Get(ctx, key); return err }, "get"},
		"two gets": {func() error {
			s.GetBatch(ctx, []reprise.StoreKey{key, {2}}, func(int, []byte, error) {})
			return nil
		}, "get get"},
		"take":              {func() error { _, _, err := s.Take(ctx, key); return err }, "getdel"},
		"incarnated take":   {func() error { _, _, _, err := s.TakeIncarnated(ctx, key); return err }, "evalsha getdel"},
		"delete":            {func() error { return s.Delete(ctx, key) }, "del"},
		"delete of nothing": {func() error { return s.Delete(ctx, reprise.StoreKey{3}) }, "del"},
	} {
		before := commandsOf(server)
		if err := test.call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var sent []string
		for command, calls := range commandsOf(server) {
			for range calls - before[command] {
				sent = append(sent, command)
			}
		}
		slices.Sort(sent)
		if got := strings.Join(sent, " "); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// awaitFollowing waits until a store tells of removals.
func awaitFollowing(t *testing.T, s *redisstore.Store) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	s.Notices(ctx, func(n reprise.Notice) {
		if n.Kind == reprise.NoticesFollow {
			stop()
		}
	})
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatal("the store does not tell of removals")
	}
}

// commandsOf returns how often a server was sent each command, but for what it is asked twice a second.
func commandsOf(server *redistest.Server) map[string]int {
	calls := make(map[string]int)
	for _, match := range regexp.MustCompile(`cmdstat_(\w+):calls=(\d+)`).FindAllStringSubmatch(server.Command("INFO", "commandstats"), -1) {
		calls[match[1]], _ = strconv.Atoi(match[2])
	}
	delete(calls, "info") // the pulse
	return calls
}

// TestForeignKeys checks that keys of others are neither shown nor counted nor cleared, not even those that a careless
// pattern would match.
func TestForeignKeys(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(t, server, "")
	digits := strings.Repeat("0", 64)
	foreign := []string{"other:" + digits, "aXb:" + digits, "abc"}
	ours := []string{"a*b:" + digits, "a*b:short", "a*b:" + strings.Repeat("G", 64)}
	for _, name := range append(ours, foreign...) {
		if err := client.Do(t.Context(), client.B().Set().Key(name).Value("x").Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, server.URL(), redisstore.Options{Prefix: "a*b:"})
	if n, err := s.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("Count = %d, %v; want 1", n, err)
	}
	err := s.Each(t.Context(), func(key reprise.StoreKey, _ []byte, _ time.Time) bool {
		t.Errorf("Each showed a key without a lifetime, which no Put has made: %x", key)
		return true
	})
	if err != nil {
		t.Error(err)
	}
	if n, err := s.Clear(t.Context()); n != len(ours) || err != nil {
		t.Errorf("Clear = %d, %v; want %d", n, err, len(ours))
	}
	if n, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64(); n != int64(len(foreign)) || err != nil {
		t.Errorf("%d keys are left, %v; want %d", n, err, len(foreign))
	}
}

// TestServerDies checks that calls fail at once when the server is gone, and work again when it is back.
func TestServerDies(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstore.Options{})
	key, record := reprise.StoreKey{1}, []byte("record")
	if err := s.Put(t.Context(), key, record, time.Hour); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for name, call := range calls(s) {
		begun := time.Now()
		if err := call(t.Context()); err == nil || time.Since(begun) > time.Second {
			t.Errorf("%s with a dead server: error %v after %v, want one at once", name, err, time.Since(begun))
		}
	}
	server.Restart()
	awaitPing(t, s)
	if got, ok, err := s.Take(t.Context(), key); !ok || err != nil || !bytes.Equal(got, record) {
		t.Errorf("Take = %q, %v, %v; want the record", got, ok, err)
	}
}

// TestServerHangs checks that calls end with their contexts while the server does not answer: on connections that it has,
// and on ones that it would have to accept.
func TestServerHangs(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstore.Options{})
	fresh, err := redisstore.Open(server.URL(), redisstore.Options{Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	server.Signal(syscall.SIGSTOP)
	defer server.Signal(syscall.SIGCONT)
	for _, s := range []*redisstore.Store{s, fresh} {
		for name, call := range calls(s) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			begun := time.Now()
			err := call(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > time.Second {
				t.Errorf("%s with a hanging server: error %v after %v, want DeadlineExceeded at once", name, err, time.Since(begun))
			}
		}
	}
	server.Signal(syscall.SIGCONT)
	awaitPing(t, s)
	awaitPing(t, fresh)
}

// TestSilentServer checks the same for a server that accepts connections and never says a word.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begun := time.Now()
	if _, err := redisstore.Open("redis://"+l.Addr().String(), redisstore.Options{}); err == nil || time.Since(begun) > 10*time.Second {
		t.Errorf("Open: error %v after %v", err, time.Since(begun))
	}
}

// TestCloseWithSilentSentinels: no connection that is being made holds it up.
func TestCloseWithSilentSentinels(t *testing.T) {
	t.Parallel()
	var hosts []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		hosts = append(hosts, l.Addr().String())
	}
	s, err := redisstore.Open("redis+sentinel://"+strings.Join(hosts, ",")+"/main", redisstore.Options{Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // into another attempt
	begun := time.Now()
	s.Close()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLazy(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	if _, err := redisstore.Open(server.URL(), redisstore.Options{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Open: %v, want ECONNREFUSED", err)
	}
	s, err := redisstore.Open(server.URL(), redisstore.Options{Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping of a server that is not there returned no error")
	}
	server.Restart()
	awaitPing(t, s)
}

func awaitPing(t *testing.T, s *redisstore.Store) {
	t.Helper()
	var err error
	for range 500 {
		if err = s.Ping(t.Context()); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the store does not work again: %v", err)
}

func calls(s *redisstore.Store) map[string]func(context.Context) error {
	key := reprise.StoreKey{2}
	return map[string]func(context.Context) error{
		"Put": func(ctx context.Context) error { return s.Put(ctx, key, []byte("record"), time.Hour) },
		"Get": func(ctx context.Context) error { _, _, err := s.Get(ctx, key); return err },
		"GetBatch": func(ctx context.Context) error {
			_, err := getBatch(ctx, s, key, reprise.StoreKey{3})
			return err
		},
		"Take":   func(ctx context.Context) error { _, _, err := s.Take(ctx, key); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, key) },
		"Count":  func(ctx context.Context) error { _, err := s.Count(ctx); return err },
		"Clear":  func(ctx context.Context) error { _, err := s.Clear(ctx); return err },
		"Ping":   s.Ping,
	}
}

// getBatch gets records together, and returns the last error.
func getBatch(ctx context.Context, s *redisstore.Store, keys ...reprise.StoreKey) (records [][]byte, err error) {
	var mu sync.Mutex
	records = make([][]byte, len(keys))
	s.GetBatch(ctx, keys, func(i int, record []byte, failed error) {
		mu.Lock()
		defer mu.Unlock()
		records[i] = record
		if failed != nil {
			err = failed
		}
	})
	return records, err
}

// TestConnectionOfAFarServerBroken: to make another one takes longer than a get may, so it is made aside.
func TestConnectionOfAFarServerBroken(t *testing.T) {
	authority, _ := certtest.Shared(t)
	server := redistest.Config{Authority: authority}.Start(t)
	p := startProxy(t, server.Addr)
	s := open(t, "rediss://"+p.address(), secure(t))
	awaitFollowing(t, s)
	get := func() error {
		ctx, cancel := contextFor(reprise.DefaultLookupTimeout)
		defer cancel()
		_, _, err := s.Get(ctx, reprise.StoreKey{1})
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	p.slow(reprise.DefaultLookupTimeout * 3 / 5)
	killConnections(t, server, false)
	begun := time.Now()
	await(t, "a get", func() bool { return get() == nil })
	took := time.Since(begun)
	t.Logf("gets work again after %v", took)
	if took > 2*time.Second {
		t.Error("that is too late")
	}
}

// TestConnectionBroken: a get, and a batch of them, does not fail for a connection that was broken before.
func TestConnectionBroken(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstore.Options{})
	keys := []reprise.StoreKey{{1}, {2}, {3}}
	for _, key := range keys {
		if err := s.Put(t.Context(), key, key[:], time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		server.Command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
		if got, err := getBatch(t.Context(), s, keys...); err != nil || !bytes.Equal(got[2], keys[2][:]) {
			t.Errorf("GetBatch: %v, %v", got, err)
		}
		server.Command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
		if _, ok, err := s.Get(t.Context(), keys[0]); !ok || err != nil {
			t.Errorf("Get: %v, %v", ok, err)
		}
	}
}

func newClient(t *testing.T, server *redistest.Server, password string) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:  []string{server.Addr},
		Password:     password,
		DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
