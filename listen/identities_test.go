package listen

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/internal/hellotest"
)

func randomIdentities(lengths ...int) (identities [][]byte) {
	for _, length := range lengths {
		identity := make([]byte, length)
		rand.Read(identity)
		identities = append(identities, identity)
	}
	return identities
}

func marshal(tb testing.TB, identities ...[]byte) []byte {
	return (&hellotest.Hello{Version: tls.VersionTLS13, Identities: identities}).Marshal(tb)
}

// fragmented returns a ClientHello in two records.
func fragmented(hello []byte) []byte {
	const first = 50
	rest := len(hello) - 5 - first
	two := slices.Concat(hello[:5+first], hello[:3], binary.BigEndian.AppendUint16(nil, uint16(rest)), hello[5+first:])
	binary.BigEndian.PutUint16(two[3:], first)
	return two
}

func TestOfferedSessions(t *testing.T) {
	five := randomIdentities(32, 32, 1, 17, 32)
	mixed := randomIdentities(200, 32, 33, 32, 300, 32)
	for _, test := range []struct {
		name string
		read []byte
		want [][]byte
	}{
		{"none", marshal(t), nil},
		{"one", marshal(t, five[0]), five[:1]},
		{"two", marshal(t, five[:2]...), five[:2]},
		{"five", marshal(t, five...), five},
		{"more", marshal(t, slices.Concat(five, mixed)...), five},
		{"not all can be session IDs", marshal(t, mixed...), [][]byte{mixed[1], mixed[3]}},
		{"more behind the hello", append(marshal(t, five...), 20, 3, 3, 0, 1, 1), five},
		{"a part", marshal(t, five...)[:400], nil},
		{"fragmented", fragmented(marshal(t, five...)), nil},
		{"nothing", nil, nil},
	} {
		var got [][]byte
		for _, id := range offeredSessions(test.read) {
			got = append(got, id.Bytes())
		}
		if !slices.EqualFunc(got, test.want, bytes.Equal) {
			t.Errorf("%s: %x, want %x", test.name, got, test.want)
		}
	}
}

// TestMemoryOfOfferedSessions is that of the IDs, and none for a client that offers nothing.
func TestMemoryOfOfferedSessions(t *testing.T) {
	for number := range 2 {
		read := marshal(t, randomIdentities([]int{32}[:number]...)...)
		if allocated := testing.AllocsPerRun(100, func() { offeredSessions(read) }); allocated > float64(number) {
			t.Errorf("%d offered: %v allocations", number, allocated)
		}
	}
}

// FuzzOfferedSessions compares with what crypto/tls makes of the same bytes: it looks for nothing else, and for these in this order.
func FuzzOfferedSessions(f *testing.F) {
	five := randomIdentities(32, 32, 1, 17, 32)
	f.Add(marshal(f, five...))
	f.Add(marshal(f, randomIdentities(200, 32, 33, 32, 300, 32)...))
	f.Add(append(marshal(f, five...), marshal(f, five...)...))
	f.Add(fragmented(marshal(f, five...)))
	_, certificate := certtest.Shared(f)
	f.Fuzz(func(t *testing.T, read []byte) {
		offered := offeredSessions(read)
		var looked []reprise.SessionID
		config := &tls.Config{
			Certificates: []tls.Certificate{certificate},
			UnwrapSession: func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
				id, err := reprise.MakeSessionID(identity)
				if err == nil && cs.Version == tls.VersionTLS13 && !cs.HelloRetryRequest {
					looked = append(looked, id)
				}
				return nil, nil
			},
		}
		_ = tls.Server(&input{Reader: bytes.NewReader(read)}, config).Handshake() // ends with the input at the latest
		if len(offered) > 0 && len(looked) > 0 && !slices.Equal(looked, offered) {
			t.Errorf("%x, and crypto/tls looks for %x", offered, looked)
		}
	})
}

// An input is a connection of which all that the client sends is there already.
type input struct {
	net.Conn
	io.Reader
}

func (c *input) Read(b []byte) (int, error)         { return c.Reader.Read(b) }
func (c *input) Write(b []byte) (int, error)        { return len(b), nil }
func (c *input) Close() error                       { return nil }
func (c *input) SetDeadline(time.Time) error        { return nil }
func (c *input) SetReadDeadline(t time.Time) error  { return nil }
func (c *input) SetWriteDeadline(t time.Time) error { return nil }

// TestIdentitiesAreLookedUpTogether: in each way to a configuration, and also if the hello comes in pieces.
func TestIdentitiesAreLookedUpTogether(t *testing.T) {
	_, certificate := certtest.Shared(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	chosen := config.Clone()
	chosen.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return config, nil }
	for _, test := range []struct {
		name     string
		engine   string
		config   *tls.Config
		pieces   func([]byte) [][]byte
		together int32
	}{
		{"crypto/tls", EngineStandard, config, whole, 5},
		{"crypto/tls, in pieces", EngineStandard, config, pieces, 5},
		{"auto", EngineAuto, config, whole, 5},
		{"auto, in pieces", EngineAuto, config, pieces, 5},
		{"auto, configuration chosen", EngineAuto, chosen, whole, 5},
		{"auto, configuration chosen, in pieces", EngineAuto, chosen, pieces, 5},
		{"records", EngineAuto, config, func(b []byte) [][]byte { return [][]byte{fragmented(b)} }, 1},
		{"TLS 1.2", EngineNative, config, whole, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache, err := reprise.New(reprise.Options{LookupTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			var asked, together atomic.Int32
			all := make(chan struct{})
			cache.SetGetCallback(func(ctx context.Context, _ reprise.SessionID) (*reprise.Session, error) {
				if asked.Add(1) == test.together {
					close(all)
				}
				select {
				case <-all:
					together.Add(1)
				case <-ctx.Done():
				}
				return nil, ctx.Err()
			})
			conn := dialListener(t, test.config, cache, Options{Engine: test.engine})
			for _, piece := range test.pieces(marshal(t, ownIdentities(t, cache, 5)...)) {
				if _, err := conn.Write(piece); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // so that the server does not read them as one
			}
			if _, err := io.ReadFull(conn, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			want := test.together
			if want == 1 {
				want = 5 // one after the other
			}
			if asked.Load() != want || together.Load() != want {
				t.Errorf("%d calls, %d of them in time, want %d", asked.Load(), together.Load(), want)
			}
		})
	}
}

// TestRetriedHelloIsLookedUpAnew: what was asked for at the first ClientHello is not used after a HelloRetryRequest, and takes no time from
// what is asked for then.
func TestRetriedHelloIsLookedUpAnew(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	cache, err := reprise.New(reprise.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cache.SetMode(cache.Mode() | reprise.ModeNoInternalLookup)
	lookups := make(chan context.Context, 3)
	cache.SetGetCallback(func(ctx context.Context, id reprise.SessionID) (*reprise.Session, error) {
		lookups <- ctx
		return cache.Lookup(id), nil
	})
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, CurvePreferences: []tls.CurveID{tls.CurveP256}}
	ln, err := Listen("tcp", "127.0.0.1:0", config, cache, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte{0}) // the session comes before it
		}
	}()
	sessions := tls.NewLRUClientSessionCache(1)
	for resumes := range 2 {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
			RootCAs: authority.Pool(), ServerName: "a.example", ClientSessionCache: sessions, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if state := conn.ConnectionState(); state.DidResume != (resumes == 1) || !state.HelloRetryRequest {
			t.Fatalf("resumed: %v, retried: %v", state.DidResume, state.HelloRetryRequest)
		}
	}
	if len(lookups) != 2 {
		t.Fatalf("%d lookups, want 2", len(lookups))
	}
	first, second := <-lookups, <-lookups
	if first == second || first.Err() == nil {
		t.Errorf("the second lookup shares the context of the first: %v; the first: %v", first == second, first.Err())
	}
}

// TestFailureEndsWhatWasAskedAhead: a handshake that fails before a session is looked for leaves no call of the external cache behind.
func TestFailureEndsWhatWasAskedAhead(t *testing.T) {
	_, certificate := certtest.Shared(t)
	cache, err := reprise.New(reprise.Options{LookupTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, reprise.MaxLookups)
	cache.SetGetCallback(func(ctx context.Context, _ reprise.SessionID) (*reprise.Session, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, CurvePreferences: []tls.CurveID{tls.CurveP256}} // the client has X25519
	conn := dialListener(t, config, cache, Options{})
	if _, err := conn.Write(marshal(t, ownIdentities(t, cache, 2)...)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a lookup goes on")
		}
	}
}

// dialListener returns a connection to a listener that hands none out.
func dialListener(t *testing.T, config *tls.Config, cache *reprise.Cache, o Options) net.Conn {
	t.Helper()
	ln, err := Listen("tcp", "127.0.0.1:0", config, cache, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { _, _ = ln.Accept() }() // until it is closed
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func whole(hello []byte) [][]byte  { return [][]byte{hello} }
func pieces(hello []byte) [][]byte { return [][]byte{hello[:3], hello[3:200], hello[200:]} }

// ownIdentities returns IDs that the cache has made.
func ownIdentities(t *testing.T, cache *reprise.Cache, number int) (identities [][]byte) {
	t.Helper()
	conn, err := cache.Accept(t.Context(), reprise.ConnectionInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for range number {
		id, err := conn.NewID()
		if err != nil {
			t.Fatal(err)
		}
		identities = append(identities, id.Bytes())
	}
	return identities
}
