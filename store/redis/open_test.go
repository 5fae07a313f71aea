package redisstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

func TestTLS(t *testing.T) {
	authority, _ := certtest.Shared(t)
	server := redistest.Config{Password: "password", Authority: authority}.Start(t)
	url := server.URL()
	config := &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	s := open(t, url, redisstore.Options{TLS: config})
	if err := s.Put(t.Context(), reprise.StoreKey{1}, []byte("record"), time.Hour); err != nil {
		t.Error(err)
	}
	if config.ServerName != "" {
		t.Error("Open changed the caller's configuration")
	}

	var unknown x509.UnknownAuthorityError
	if _, err := redisstore.Open(url, redisstore.Options{}); !errors.As(err, &unknown) {
		t.Errorf("Open without the roots: %v, want UnknownAuthorityError", err)
	}
	var name x509.HostnameError
	other := &tls.Config{RootCAs: authority.Pool(), ServerName: "redis.example"}
	if _, err := redisstore.Open(url, redisstore.Options{TLS: other}); !errors.As(err, &name) {
		t.Errorf("Open with another server name: %v, want HostnameError", err)
	}
	if _, err := redisstore.Open("redis://:password@"+server.Addr, redisstore.Options{}); err == nil {
		t.Error("Open without TLS returned no error")
	}
}

func TestUnsafe(t *testing.T) {
	for _, url := range []string{
		"redis://redis.example", "redis://:password@redis.example", "rediss://redis.example", "rediss://user@192.0.2.1",
		"redis+cluster://127.0.0.1,192.0.2.1", "rediss+cluster://127.0.0.1,192.0.2.1", "redis+sentinel://192.0.2.1/main",
		"rediss+sentinel://:password@192.0.2.1/main", "redis://192.0.2.1:6379", "redis://[2001:db8::1]", "redis://0.0.0.0", "redis://localhost.example", "redis://127.0.0.1.example",
	} {
		if _, err := redisstore.Open(url, redisstore.Options{Lazy: true}); !errors.Is(err, redisstore.ErrUnsafe) {
			t.Errorf("Open %s: %v, want ErrUnsafe", url, err)
		}
	}
	// This address reaches the loopback interface too, but does not look like it.
	server := redistest.Start(t)
	open(t, fmt.Sprintf("redis://0.0.0.0:%s", server.Port()), redisstore.Options{Unsafe: true})
	open(t, fmt.Sprintf("redis://localhost:%s", server.Port()), redisstore.Options{})
}

func TestURLsThatAreWrong(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "not a URL",
		"127.0.0.1:6379":                      "not a URL",
		"redis:///1":                          "not a URL",
		"redis://:se/cr%zzet@127.0.0.1":       "not a URL",
		"redis://user:secret@127.0.0.1:port":  "not a URL",
		"http://user:secret@127.0.0.1":        `scheme "http"`,
		"redis://user:secret@127.0.0.1/one":   `database "one"`,
		"redis://user:secret@127.0.0.1/1/2":   `database "1/2"`,
		"redis://user:secret@127.0.0.1/-1":    `database "-1"`,
		"redis://user:secret@127.0.0.1/0?a=b": "settings",

		"redis://127.0.0.1,127.0.0.2":                                "several hosts",
		"redis+cluster://:secret@127.0.0.1,":                         "not a URL",
		"redis+cluster://:secret@127.0.0.1/1":                        "database 0",
		"redis+sentinel://:secret@127.0.0.1":                         "name of a master",
		"redis+sentinel://127.0.0.1/main/x?sentinel-password=secret": `database "x"`,
		"redis+cluster://127.0.0.1?sentinel-password=secret":         "settings",
		"redis://user:/secret@127.0.0.1/0":                           "not a URL",
		"redis://user:47/secret@127.0.0.1/0":                         "not a URL",
		"redis+sentinel://user:12/secret@127.0.0.1/main":             "not a URL",
		"redis+ring://127.0.0.1":                                     `scheme "redis+ring"`,
		"http+cluster://127.0.0.1":                                   `scheme "http+cluster"`,
	} {
		_, err := redisstore.Open(url, redisstore.Options{})
		if !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("Open %s: %v, want %s", url, err, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"redis://user:secret@127.0.0.1:1/2":                                 "redis://127.0.0.1:1/2",
		"rediss+cluster://:se@cret@a.example,b.example:7":                   "rediss+cluster://a.example,b.example:7",
		"redis+sentinel://u:secret@127.0.0.1/main?sentinel-password=secret": "redis+sentinel://127.0.0.1/main",
		"redis+sentinel://user:12/secret@127.0.0.1/main":                    "redis+sentinel://",
		"redis://user:/secret@127.0.0.1":                                    "redis://",
	} {
		if got := redisstore.Redact(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

// TestLearnedServersAreSafe checks that a cluster can't lead to a server that the URL could not have named.
func TestLearnedServersAreSafe(t *testing.T) {
	t.Parallel()
	c := redistest.StartClusterNode(t)
	s := open(t, "redis+cluster://"+c.Addr, redisstore.Options{})
	c.Command("CONFIG", "SET", "cluster-announce-ip", "192.0.2.1")
	await(t, "the node to call itself by another name", func() bool { return strings.Contains(c.Command("CLUSTER", "SLOTS"), "192.0.2.1") })
	await(t, "a call to be refused", func() bool {
		_, _, err := s.Get(t.Context(), reprise.StoreKey{1})
		return errors.Is(err, redisstore.ErrUnsafe)
	})
}

// TestNothingIsLeft checks that a store which was closed leaves no goroutine, whatever its servers did.
func TestNothingIsLeft(t *testing.T) {
	server := redistest.Start(t)
	before := runtime.NumGoroutine()
	for _, fault := range []func(){func() {}, server.Kill, server.Restart, func() { server.Signal(syscall.SIGSTOP) }} {
		s, err := redisstore.Open(server.URL(), redisstore.Options{Lazy: true})
		if err != nil {
			t.Fatal(err)
		}
		fault()
		for _, call := range calls(s) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_ = call(ctx) // which may fail
			cancel()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	server.Signal(syscall.SIGCONT)
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestTemporary checks which errors of Open pass by themselves.
func TestTemporary(t *testing.T) {
	t.Parallel()
	primary := redistest.Config{Password: "password"}.Start(t)
	replica := redistest.Start(t, "replicaof 127.0.0.1 "+primary.Port(), "masterauth password")
	cluster := redistest.StartClusterNode(t)
	gone := redistest.Start(t)
	gone.Kill()
	half := redistest.StartCluster(t, "cluster-replica-no-failover yes")
	half.Primaries[2].Kill()
	await(t, "the cluster to be down", func() bool {
		return strings.Contains(half.Primaries[0].Command("CLUSTER", "INFO"), "cluster_state:fail") &&
			strings.Contains(half.Primaries[1].Command("CLUSTER", "INFO"), "cluster_state:fail")
	})
	loading := redistest.Start(t, "key-load-delay 20000", "loading-process-events-interval-bytes 1024")
	for i := range 200 {
		loading.Command("SET", fmt.Sprint(i), strings.Repeat("x", 2000))
	}
	loading.Kill()
	loading.Launch()
	cluster.Command("CLUSTER", "FLUSHSLOTS")
	for _, test := range []struct {
		name, url string
		want      bool
	}{
		{"gone", gone.URL(), true},
		{"reads its data", loading.URL(), true},
		{"a replica", replica.URL(), true},
		{"a cluster that is not whole", "redis+cluster://" + cluster.Addr, true},
		{"a cluster without one of its primaries", half.URL(), true},
		{"a wrong password", primary.URLAs("", "wrong"), false},
		{"no password", "redis://" + primary.Addr, false},
		{"no cluster", "redis+cluster://:password@" + primary.Addr, false},
		{"sentinels that are gone", "redis+sentinel://" + gone.Addr + "/main", true},
		{"no sentinel", "redis+sentinel://" + cluster.Addr + "/main", false},
		{"no Redis", "redis+sentinel://" + notRedis(t) + "/main", false},
		{"no Redis, and a sentinel that is gone", "redis+sentinel://" + notRedis(t) + "," + gone.Addr + "/main", true},
	} {
		s, err := redisstore.Open(test.url, redisstore.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || redisstore.IsTemporary(err) != test.want {
			t.Errorf("%s: %v: want temporary %v", test.name, err, test.want)
		}
	}
}

// notRedis returns the address of a server of another kind.
func notRedis(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
