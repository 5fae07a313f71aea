package native_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// A lockstep is a connection between a server and a client of which one runs at a time, so that what the server does can be
// measured: the client has its turn while the server reads and nothing is there, and only then.
type lockstep struct {
	toServer, toClient buffer
	serverTurn         chan struct{}
	clientTurn         chan struct{}
	clientMallocs      uint64 // made by the client
}

func newLockstep() *lockstep {
	return &lockstep{serverTurn: make(chan struct{}), clientTurn: make(chan struct{})}
}

// A buffer has bytes that are not read yet. It does not grow.
type buffer struct {
	bytes  [4 << 10]byte
	length int
}

func (b *buffer) write(p []byte) (int, error) {
	n := copy(b.bytes[b.length:], p)
	b.length += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (b *buffer) read(p []byte) int {
	n := copy(p, b.bytes[:b.length])
	b.length = copy(b.bytes[:], b.bytes[n:b.length])
	return n
}

// lockstepServer is the server's end.
type lockstepServer struct{ *lockstep }

func (l lockstepServer) Read(p []byte) (int, error) {
	if l.toServer.length == 0 {
		before := mallocs()
		l.clientTurn <- struct{}{}
		<-l.serverTurn
		l.clientMallocs += mallocs() - before
	}
	return l.toServer.read(p), nil
}

func (l lockstepServer) Write(p []byte) (int, error) { return l.toClient.write(p) }

// lockstepClient is the client's end.
type lockstepClient struct{ *lockstep }

func (l lockstepClient) Read(p []byte) (int, error) {
	if l.toClient.length == 0 {
		l.serverTurn <- struct{}{}
		<-l.clientTurn
	}
	return l.toClient.read(p), nil
}

func (l lockstepClient) Write(p []byte) (int, error) { return l.toServer.write(p) }

func (*lockstep) Close() error                     { return nil }
func (*lockstep) LocalAddr() net.Addr              { return nil }
func (*lockstep) RemoteAddr() net.Addr             { return nil }
func (*lockstep) SetDeadline(time.Time) error      { return nil }
func (*lockstep) SetReadDeadline(time.Time) error  { return nil }
func (*lockstep) SetWriteDeadline(time.Time) error { return nil }

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// handshake makes a handshake over l, and returns the server's connection and how many allocations it has made.
func (l *lockstep) handshake(t testing.TB, server, client *tls.Config, cache *reprise.Cache) (conn *native.Conn, allocations int) {
	t.Helper()
	clientErr := make(chan error, 1)
	go func() {
		<-l.clientTurn
		clientErr <- tls.Client(lockstepClient{l}, client).Handshake()
		l.serverTurn <- struct{}{}
	}()
	before := mallocs()
	conn = native.Server(lockstepServer{l}, server, cache)
	err := conn.Handshake()
	allocations = int(mallocs() - before - l.clientMallocs)
	if l.toClient.length > 0 { // the end of a full handshake
		l.clientTurn <- struct{}{}
		<-l.serverTurn
	}
	if err := errors.Join(err, <-clientErr); err != nil {
		t.Fatal(err)
	}
	return conn, allocations
}

// lockstepConfigs returns configurations of a server and of a client that resumes by ticket.
func lockstepConfigs(t testing.TB) (server, client *tls.Config) {
	authority := certtest.NewAuthority(t, "root")
	server = &tls.Config{Certificates: []tls.Certificate{authority.Server(t, "a.example")}}
	return server, &tls.Config{
		RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

// TestResumedHandshakeAllocations: a resumed handshake makes at most 40 allocations, those of the cache included.
func TestResumedHandshakeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget at random under the race detector")
	}
	const limit = 40
	server, client := lockstepConfigs(t)
	cache := newCache(t, reprise.Options{})
	newLockstep().handshake(t, server, client, cache)
	var counts []int
	for range 20 { // at times the runtime allocates too
		conn, n := newLockstep().handshake(t, server, client, cache)
		if !conn.ConnectionState().DidResume {
			t.Fatal("not resumed")
		}
		counts = append(counts, n)
	}
	if least := slices.Min(counts); least > limit {
		t.Errorf("%d allocations, want at most %d", least, limit)
	} else {
		t.Logf("%d allocations", least)
	}
}

// TestIdleConnectionMemory: an idle connection holds at most 8 KiB beyond its net.Conn.
func TestIdleConnectionMemory(t *testing.T) {
	const limit, number = 8 << 10, 200
	server, client := lockstepConfigs(t)
	cache := newCache(t, reprise.Options{})
	newLockstep().handshake(t, server, client, cache)
	raw := make([]*lockstep, number)
	for i := range raw {
		raw[i] = newLockstep()
	}
	conns := make([]*native.Conn, number)
	before := heapInUse()
	for i := range conns {
		conns[i], _ = raw[i].handshake(t, server, client, cache)
	}
	each := (heapInUse() - before) / number
	if each > limit {
		t.Errorf("%d bytes, want at most %d", each, limit)
	} else {
		t.Logf("%d bytes", each)
	}
	runtime.KeepAlive(conns)
	runtime.KeepAlive(raw)
}

// heapInUse returns how many bytes are allocated and reachable.
func heapInUse() int {
	var m runtime.MemStats
	for range 2 { // what the first collection finds in pools, the second frees
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
