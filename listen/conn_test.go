package listen

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/stdtls"
)

// TestClosedBeforeEstablished: a connection that is closed for want of time just when its handshake is complete has ended
// uncleanly, whichever comes first.
func TestClosedBeforeEstablished(t *testing.T) {
	for name, do := range map[string]func(c *rawConn){
		"closed first":      func(c *rawConn) { c.Close(); c.establish() },
		"established first": func(c *rawConn) { c.establish(); c.Close() },
		"closed twice":      func(c *rawConn) { c.Close(); c.establish(); c.Close() },
		"at once": func(c *rawConn) {
			var both sync.WaitGroup
			both.Go(func() { c.Close() })
			both.Go(c.establish)
			both.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			cache, err := reprise.New(reprise.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c := handshaken(t, cache)
			do(c)
			if s := cache.Stats(); s.Number != 0 || s.Removals[reprise.RemovedUnclean] != 1 {
				t.Errorf("%d sessions are left, %d have ended uncleanly", s.Number, s.Removals[reprise.RemovedUnclean])
			}
		})
	}
}

// handshaken returns a connection whose handshake is complete, and not established.
func handshaken(t *testing.T, cache *reprise.Cache) *rawConn {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if err := stdtls.Attach(config, cache); err != nil {
		t.Fatal(err)
	}
	inner, raw := net.Pipe()
	t.Cleanup(func() { raw.Close() })
	go func() {
		client := tls.Client(raw, &tls.Config{
			RootCAs: authority.Pool(), ServerName: "a.example", ClientSessionCache: tls.NewLRUClientSessionCache(1),
		})
		_, _ = client.Read(make([]byte, 1))
	}()
	c := newRawConn(inner, &Options{Engine: EngineStandard})
	c.tls = tls.Server(c, config)
	if err := c.tls.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCloseDuringHandshakes is for the race detector.
func TestCloseDuringHandshakes(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	for i := range 20 {
		cache, err := reprise.New(reprise.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}}, cache, Options{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
				conn.Close()
			}
		}()
		var clients sync.WaitGroup
		for range 8 {
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			clients.Go(func() {
				_ = tls.Client(raw, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example"}).Handshake()
				raw.Close()
			})
		}
		time.Sleep(time.Duration(i) * time.Millisecond / 2)
		ln.Close()
		clients.Wait()
	}
}
