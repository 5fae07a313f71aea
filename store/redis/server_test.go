package redisstore_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/internal/certtest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// secure are options that trust the servers that speak TLS.
func secure(t testing.TB) redisstore.Options {
	authority, _ := certtest.Shared(t)
	return redisstore.Options{TLS: &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}}
}

func open(t testing.TB, url string, options redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// await waits until f returns true.
func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
