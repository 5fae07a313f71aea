package native_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// TestNoByteOfAnotherConnection: connections share memory one after the other. Each has a byte of its own here, which both sides send
// and nobody else may read, however suddenly a connection is closed.
func TestNoByteOfAnotherConnection(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	cache := newCache(t, reprise.Options{})
	sessions := tls.NewLRUClientSessionCache(4)
	const workers, rounds = 8, 12
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for round := range rounds {
				a, b := tcpPair(t)
				own := byte(1 + worker*rounds + round)
				client := tls.Client(a, &tls.Config{
					RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: sessions,
				})
				server := native.Server(b, config, cache)
				var one sync.WaitGroup
				one.Go(func() { flood(client, own, 2000) })
				one.Go(func() { flood(server, own, 3000) })
				one.Go(func() { readOnly(t, client, own, 999) })
				one.Go(func() { readOnly(t, server, own, 700) })
				time.Sleep(time.Duration(round) * 2 * time.Millisecond)
				server.Close()
				one.Wait()
				client.Close()
			}
		})
	}
	all.Wait()
}

// flood writes a byte again and again, until that fails.
func flood(conn net.Conn, own byte, longest int) {
	b := bytes.Repeat([]byte{own}, longest)
	for n := 1; ; n = n*7%longest + 1 {
		if _, err := conn.Write(b[:n]); err != nil {
			return
		}
	}
}

// readOnly reads until that fails, and wants nothing but a byte.
func readOnly(t *testing.T, conn net.Conn, own byte, size int) {
	b := make([]byte, size)
	for {
		n, err := conn.Read(b)
		if others := bytes.Trim(b[:n], string([]byte{own})); len(others) > 0 {
			t.Errorf("%T reads %#x, want only %#x", conn, others[0], own)
			return
		}
		if received, ok := errors.AsType[*native.AlertError](err); ok {
			t.Errorf("%T: %v", conn, received)
		}
		if err != nil {
			return
		}
	}
}
