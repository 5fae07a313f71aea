package listen_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// spread returns a record as records of one byte each, with warnings between them.
func spread(record []byte, warnings int) (all []byte) {
	warning := []byte{21, 3, 1, 0, 2, 1, 90} // user_canceled
	for i, b := range record[5:] {
		if i > 0 {
			all = append(all, bytes.Repeat(warning, warnings)...)
		}
		all = append(all, 22, 3, 1, 0, 1, b)
	}
	return all
}

// A spreader is a connection of a client whose first record is spread.
type spreader struct {
	net.Conn
	warnings int
	begun    bool
}

func (c *spreader) Write(b []byte) (int, error) {
	sent := b
	if !c.begun {
		c.begun, sent = true, spread(b, c.warnings)
	}
	if _, err := c.Conn.Write(sent); err != nil {
		return 0, err
	}
	return len(b), nil
}

// TestSpreadHello: a ClientHello in tiny records goes to native, and to crypto/tls if more comes with it than native would want to read
// again.
func TestSpreadHello(t *testing.T) {
	for warnings, want := range map[int]string{0: listen.EngineNative, 16: listen.EngineStandard} {
		ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto})
		config := clientConfig(t, tls.VersionTLS12)
		config.NextProtos = []string{strings.Repeat("p", 200)}
		client := tls.Client(&spreader{Conn: dial(t, ln), warnings: warnings}, config)
		client.SetDeadline(time.Now().Add(20 * time.Second))
		handshake := make(chan error, 1)
		go func() { handshake <- client.Handshake() }()
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := <-handshake; err != nil {
			t.Errorf("%d warnings: %v", warnings, err)
		}
		send(t, client, server)
		send(t, server, client)
		if info, ok := listen.InfoOf(server); !ok || info.Engine != want {
			t.Errorf("%d warnings: engine %q, want %q", warnings, info.Engine, want)
		}
	}
}

// TestMemoryOfSpreadHello: what a client sends around its ClientHello is not kept.
func TestMemoryOfSpreadHello(t *testing.T) {
	const conns, limit = 4, 128 << 10
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto, HandshakeTimeout: time.Minute})
	go func() { _, _ = ln.Accept() }()                                                  // until it is closed
	record := append([]byte{22, 3, 1, 0, 0, 1, 0, 0xff, 0xf0}, make([]byte, 40_000)...) // the end of the hello is missing
	input := spread(record, 16)
	before := heap()
	for range conns {
		raw := dial(t, ln)
		if _, err := raw.Write(input); err != nil {
			t.Fatal(err)
		}
	}
	for ln.Stats().Pending < conns {
		time.Sleep(time.Millisecond)
	}
	if each := (heap() - before) / conns; each > limit {
		t.Errorf("a connection holds %d bytes of %d, want at most %d", each, len(input), limit)
	}
	if failed := ln.Stats().Failed; failed > 0 {
		t.Errorf("%d handshakes failed", failed)
	}
}

// heap returns how many bytes are in use, stacks included.
func heap() int {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse)
}
