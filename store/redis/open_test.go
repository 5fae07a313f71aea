package redisstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// rights are all that a user of Redis needs, apart from those for its keys.
var rights = []string{
	"resetchannels", "-@all", "+hello", "+select", "+ping", "+set", "+get", "+getdel", "+del", "+scan", "+pttl", "+unlink",
	"+eval", "+evalsha", "+info", "+client|tracking",
}

func TestPasswordAndRights(t *testing.T) {
	server := startServer(t, "--requirepass", "pass/word")
	at := "@" + server.address()
	admin := open(t, "redis://:pass%2Fword"+at, redisstore.Options{})
	if err := admin.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}

	client := newClient(t, server, "pass/word")
	user := append([]string{"user", "on", ">secret", "~reprise:*"}, rights...)
	if err := client.Do(t.Context(), client.B().Arbitrary("ACL", "SETUSER").Args(user...).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	s := open(t, "redis://user:secret"+at+"/3", redisstore.Options{})
	key := reprise.StoreKey{1}
	if err := s.Put(t.Context(), key, []byte("record"), time.Hour); err != nil {
		t.Errorf("Put: %v", err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok, err := admin.Get(t.Context(), key); ok || err != nil {
		t.Errorf("the record of database 3 is in database 0: %v, %v", ok, err)
	}

	server.password = "pass/word"
	for right, without := range map[string]string{"+eval": "-eval", "+info": "-info", "+client|tracking": "-client|tracking"} {
		server.command("ACL", "SETUSER", "user", without)
		server.command("SCRIPT", "FLUSH")
		s, err := redisstore.Open("redis://user:secret"+at, redisstore.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "perm") {
			t.Errorf("Open without the right %s: %v", right, err)
		}
		server.command("ACL", "SETUSER", "user", right)
	}

	for _, test := range []struct{ url, prefix, want string }{
		{"redis://:wrong" + at, "", "WRONGPASS"},
		{"redis://" + server.address(), "", "NOAUTH"},
		{"redis://user:secret" + at, "other:", "NOPERM"},
	} {
		s, err := redisstore.Open(test.url, redisstore.Options{Prefix: test.prefix})
		if err == nil {
			s.Close()
		}
		if !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("Open %s: %v, want %s", test.url, err, test.want)
		}
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	server := startServer(t, "--port", "0", "--tls-port", portArgument, "--tls-cert-file", a.cert, "--tls-key-file", a.key,
		"--tls-ca-cert-file", a.cert, "--tls-auth-clients", "no", "--requirepass", "password")
	url := "rediss://:password@" + server.address()
	config := &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12}
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
	other := &tls.Config{RootCAs: a.roots, ServerName: "redis.example"}
	if _, err := redisstore.Open(url, redisstore.Options{TLS: other}); !errors.As(err, &name) {
		t.Errorf("Open with another server name: %v, want HostnameError", err)
	}
	if _, err := redisstore.Open("redis://:password@"+server.address(), redisstore.Options{}); err == nil {
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
	server := startServer(t)
	open(t, fmt.Sprintf("redis://0.0.0.0:%d", server.port), redisstore.Options{Unsafe: true})
	open(t, fmt.Sprintf("redis://localhost:%d", server.port), redisstore.Options{})
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
	} {
		if got := redisstore.Redact(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

// TestLearnedServersAreSafe checks that a cluster can't lead to a server that the URL could not have named.
func TestLearnedServersAreSafe(t *testing.T) {
	t.Parallel()
	c := startClusterNode(t)
	c.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	await(t, "the cluster to be ready", func() bool { return strings.Contains(c.command("CLUSTER", "INFO"), "cluster_state:ok") })
	s := open(t, "redis+cluster://"+c.address(), redisstore.Options{})
	c.command("CONFIG", "SET", "cluster-announce-ip", "192.0.2.1")
	await(t, "the node to call itself by another name", func() bool { return strings.Contains(c.command("CLUSTER", "SLOTS"), "192.0.2.1") })
	await(t, "a call to be refused", func() bool {
		_, _, err := s.Get(t.Context(), reprise.StoreKey{1})
		return errors.Is(err, redisstore.ErrUnsafe)
	})
}

// TestNothingIsLeft checks that a store which was closed leaves no goroutine, whatever its servers did.
func TestNothingIsLeft(t *testing.T) {
	server := startServer(t)
	before := runtime.NumGoroutine()
	for _, fault := range []func(){func() {}, server.kill, server.start, func() { server.signal(syscall.SIGSTOP) }} {
		s, err := redisstore.Open("redis://"+server.address(), redisstore.Options{Lazy: true})
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
	server.signal(syscall.SIGCONT)
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
