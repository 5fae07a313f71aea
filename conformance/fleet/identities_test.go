package fleet_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/hellotest"
	"github.com/reprise-tls/reprise/listen"
	"github.com/reprise-tls/reprise/stdtls"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// TestIdentitiesInOneRoundTrip: a client offers five sessions, all of which lie in Redis and none of which may be resumed. With a
// Listener that costs one round trip to Redis; with Attach alone, which sees one at a time, five.
func TestIdentitiesInOneRoundTrip(t *testing.T) {
	const trip = 200 * time.Millisecond
	redis := startRedis(t)
	network := startNetwork(t, redis.Address)
	keys := reprise.RandomFleetKeys()
	maker, n := newRedisNode(t, keys, redis.Address), newRedisNode(t, keys, network.address)
	_, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}

	withListener, err := listen.Listen("tcp", "127.0.0.1:0", config, n.cache, listen.Options{})
	must(t, err)
	attached := config.Clone()
	must(t, stdtls.Attach(attached, n.cache))
	withAttach, err := tls.Listen("tcp", "127.0.0.1:0", attached)
	must(t, err)
	for _, ln := range []net.Listener{withListener, withAttach} {
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { _ = conn.(*tls.Conn).Handshake() }() // until the client goes away
			}
		}()
	}

	awaitStats(t, n, "notices", func(s reprise.StoreStats) bool { return s.Following })
	hello := hellotest.Hello{Version: tls.VersionTLS13, ServerName: "a.example"}
	for range 5 {
		id := maker.full().ID()
		hello.Identities = append(hello.Identities, id.Bytes())
	}
	awaitStats(t, n, "the notices of the puts", func(s reprise.StoreStats) bool { return s.Notices >= 5 })
	// The client of Redis sends commands together once it was asked for two at a time.
	offer(t, withListener.Addr().String(), hello)
	network.make(trouble{delays: trip})
	for _, test := range []struct {
		name  string
		ln    net.Listener
		trips time.Duration
	}{{"listen", withListener, 1}, {"stdtls", withAttach, 5}} {
		var took time.Duration
		for range 3 { // the machine may be busy
			before := n.binding.Stats().Gets
			took = offer(t, test.ln.Addr().String(), hello)
			if gets := n.binding.Stats().Gets - before; gets != 5 {
				t.Errorf("%s: %d gets, want 5", test.name, gets)
			}
			if took < (test.trips+1)*trip {
				break
			}
		}
		if took < test.trips*trip || took >= (test.trips+1)*trip {
			t.Errorf("%s: the answer took %v, want %d round trips of %v", test.name, took, test.trips, trip)
		}
	}
}

// newRedisNode returns a node on a Redis at an address, with a deadline that a slow one keeps.
func newRedisNode(t *testing.T, keys *reprise.FleetKeys, address string) cacheNode {
	t.Helper()
	store, err := redisstore.Open("redis://"+address, redisstore.Options{})
	must(t, err)
	cache, err := reprise.New(reprise.Options{Keys: keys, LookupTimeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	must(t, err)
	t.Cleanup(func() {
		_ = binding.Close(t.Context()) // nothing is left to be written
		cache.Close()
		store.Close()
	})
	return cacheNode{t, cache, binding}
}

// awaitStats waits until the counters of a node's store are as told.
func awaitStats(t *testing.T, n cacheNode, what string, are func(reprise.StoreStats) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !are(n.binding.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s: %+v", what, n.binding.Stats())
		}
	}
}

// offer sends a ClientHello to a server, and returns how long its answer took.
func offer(t *testing.T, address string, hello hellotest.Hello) time.Duration {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	begun := time.Now()
	_, err = conn.Write(hello.Marshal(t))
	must(t, err)
	answer := make([]byte, 6)
	_, err = io.ReadFull(conn, answer)
	must(t, err)
	if answer[0] != 22 || answer[5] != 2 {
		t.Errorf("the server answers %x, want a ServerHello", answer)
	}
	return time.Since(begun)
}
