package stdtls_test

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
	"github.com/reprise-tls/reprise/store/memory"
)

// quicResult is how a QUIC handshake ended.
type quicResult struct {
	resumed, earlyData bool
	extra              [][]byte // of the session that the server resumed
}

// handshakeQUIC does the TLS handshake of a QUIC connection in memory, and lets the server send a ticket that allows early data.
func handshakeQUIC(t *testing.T, client, server *tls.Config, extra [][]byte) quicResult {
	t.Helper()
	return handshakeQUICWith(t, client, server, tls.QUICSessionTicketOptions{EarlyData: true, Extra: extra})
}

func handshakeQUICWith(t *testing.T, client, server *tls.Config, ticket tls.QUICSessionTicketOptions) (r quicResult) {
	t.Helper()
	c := tls.QUICClient(&tls.QUICConfig{TLSConfig: client})
	s := tls.QUICServer(&tls.QUICConfig{TLSConfig: server, EnableSessionEvents: true})
	defer c.Close()
	defer s.Close()
	for _, conn := range []*tls.QUICConn{c, s} {
		conn.SetTransportParameters([]byte("parameters"))
		if err := conn.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step := func(from, to *tls.QUICConn) (idle bool) {
		t.Helper()
		switch e := from.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return true
		case tls.QUICErrorEvent:
			t.Fatal(e.Err)
		case tls.QUICWriteData:
			if err := to.HandleData(e.Level, e.Data); err != nil {
				t.Fatal(err)
			}
		case tls.QUICSetReadSecret:
			r.earlyData = r.earlyData || from == s && e.Level == tls.QUICEncryptionLevelEarly
		case tls.QUICResumeSession:
			r.extra = slices.Clone(e.SessionState.Extra)
		case tls.QUICHandshakeDone:
			if from == s {
				if err := s.SendSessionTicket(ticket); err != nil {
					t.Fatal(err)
				}
			}
		default:
		}
		return false
	}
	for idle := 0; idle < 2; {
		idle = 0
		for _, pair := range [][2]*tls.QUICConn{{c, s}, {s, c}} {
			if step(pair[0], pair[1]) {
				idle++
			}
		}
	}
	r.resumed = s.ConnectionState().DidResume
	return r
}

func quicConfigs(t *testing.T, cache *reprise.Cache) (c *client, clientConfig, serverTLS *tls.Config) {
	t.Helper()
	server := serverConfig(t)
	server.MinVersion, server.NextProtos = tls.VersionTLS13, []string{"quic-test"}
	attach(t, server, cache)
	c = newClient(t, tls.VersionTLS13)
	c.config.NextProtos = []string{"quic-test"}
	return c, c.config, server
}

// TestQUICEarlyDataIsForSingleUse: with a take callback each session allows early data once; its Extra is kept.
func TestQUICEarlyDataIsForSingleUse(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	external := newExternalCache(cache)
	cache.SetTakeCallback(external.take)
	c, client, server := quicConfigs(t, cache)

	extra := [][]byte{[]byte("quic-go1 parameters"), []byte("another layer's")}
	if r := handshakeQUIC(t, client, server, extra); r.resumed || r.earlyData {
		t.Fatalf("first connection: %+v", r)
	}
	used := c.sessions.session
	r := handshakeQUIC(t, client, server, extra)
	if !r.resumed || !r.earlyData {
		t.Fatalf("second connection: %+v, want early data", r)
	}
	if !slices.EqualFunc(r.extra, extra, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("Extra = %q, want %q", r.extra, extra)
	}
	c.sessions.session = used
	if r := handshakeQUIC(t, client, server, extra); r.resumed || r.earlyData {
		t.Errorf("a session was used twice: %+v", r)
	}
	expectOutcome(t, cache, reprise.Resumed, 1)
	if s := cache.Stats(); s.Unconfirmed != 0 {
		t.Errorf("%d sessions are unconfirmed after complete handshakes", s.Unconfirmed)
	}
}

// TestQUICWithoutTakeHasNoEarlyData: nothing would stop a replay on another node, or after a restart.
func TestQUICWithoutTakeHasNoEarlyData(t *testing.T) {
	_, client, server := quicConfigs(t, newCache(t, reprise.Options{}))
	handshakeQUIC(t, client, server, nil)
	for range 2 {
		if r := handshakeQUIC(t, client, server, nil); !r.resumed || r.earlyData {
			t.Errorf("%+v, want a resumption without early data", r)
		}
	}
}

// A promisingStore says of its take what it is told to.
type promisingStore struct {
	reprise.Store
	promise reprise.TakePromise
}

func (s *promisingStore) TakePromise() reprise.TakePromise { return s.promise }

// TestQUICEarlyDataNeedsTheStoresPromise: a store that may bring a taken record back, or give it to two, allows a replay.
func TestQUICEarlyDataNeedsTheStoresPromise(t *testing.T) {
	for _, promise := range []reprise.TakePromise{{}, {Atomic: true}, {Durable: true}, {Atomic: true, Durable: true}} {
		store := &promisingStore{new(memory.Store), promise}
		cache, _ := newStoredCache(t, reprise.Options{Keys: reprise.RandomFleetKeys()}, store)
		_, client, server := quicConfigs(t, cache)
		handshakeQUIC(t, client, server, nil)
		if r := handshakeQUIC(t, client, server, nil); !r.resumed || r.earlyData != (promise.Atomic && promise.Durable) {
			t.Errorf("%+v of a store that promises %+v", r, promise)
		}
	}
}

// TestQUICEarlyDataNeedsThePromiseWhereItIsUsed: the promise of the store that the session was made over says nothing of another one,
// whether or not the encoding of the session is known.
func TestQUICEarlyDataNeedsThePromiseWhereItIsUsed(t *testing.T) {
	for _, isKnown := range []bool{true, false} {
		stdtls.SetConvertible(t, isKnown)
		for _, promised := range []bool{true, false} {
			store, keys := new(memory.Store), reprise.RandomFleetKeys()
			made, binding := newStoredCache(t, reprise.Options{Keys: keys}, &promisingStore{store, reprise.TakePromise{Atomic: true, Durable: true}})
			_, client, server := quicConfigs(t, made)
			handshakeQUIC(t, client, server, nil)
			if err := binding.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			used, _ := newStoredCache(t, reprise.Options{Keys: keys}, &promisingStore{store, reprise.TakePromise{Atomic: true, Durable: promised}})
			_, _, server = quicConfigs(t, used)
			if r := handshakeQUIC(t, client, server, nil); !r.resumed || r.earlyData != promised {
				t.Errorf("%+v where the store's promise is kept: %v; encoding known: %v", r, promised, isKnown)
			}
		}
	}
}

// TestQUICTicketWithoutEarlyData: what the application sends without stays without, and may be used again.
func TestQUICTicketWithoutEarlyData(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	external := newExternalCache(cache)
	cache.SetTakeCallback(external.take)
	c, client, server := quicConfigs(t, cache)
	handshakeQUICWith(t, client, server, tls.QUICSessionTicketOptions{})
	session := c.sessions.session
	for range 2 {
		c.sessions.session = session
		if r := handshakeQUICWith(t, client, server, tls.QUICSessionTicketOptions{}); !r.resumed || r.earlyData {
			t.Errorf("%+v, want a resumption without early data", r)
		}
	}
}

// TestQUICEarlyDataOfTheFuture: of a session that was made in the future of the cache's clock nobody can tell how old it is. It resumes.
func TestQUICEarlyDataOfTheFuture(t *testing.T) {
	for _, test := range []struct {
		ahead     time.Duration // the clock of who made the session
		earlyData bool
	}{
		{5 * time.Minute, false},
		{10*time.Second + time.Millisecond, false},
		{10 * time.Second, true},
		{0, true},
		{-5 * time.Minute, true}, // it looks older than it is
	} {
		now := time.Now()
		cache := newCache(t, reprise.Options{Now: func() time.Time { return now }})
		cache.SetTakeCallback(newExternalCache(cache).take)
		c, client, server := quicConfigs(t, cache)
		now = now.Add(test.ahead)
		handshakeQUIC(t, client, server, nil)
		session := c.sessions.session
		now = now.Add(-test.ahead)
		if r := handshakeQUIC(t, client, server, nil); !r.resumed || r.earlyData != test.earlyData {
			t.Errorf("made %v ahead: %+v, want a resumption with early data %v", test.ahead, r, test.earlyData)
		}
		c.sessions.session = session
		if r := handshakeQUIC(t, client, server, nil); r.resumed || r.earlyData {
			t.Errorf("made %v ahead, and offered again: %+v", test.ahead, r)
		}
	}
}

// TestQUICAndTCPAreScopesApart: a client that used a QUIC ticket over TCP could send early data there, which is fatal.
func TestQUICAndTCPAreScopesApart(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	c, client, server := quicConfigs(t, cache)
	handshakeQUIC(t, client, server, nil)
	addr := serve(t, server)
	c.expect(addr, false)
	expectOutcome(t, cache, reprise.OtherScope, 1)
	c.expect(addr, true)
	if r := handshakeQUIC(t, client, server, nil); r.resumed {
		t.Error("a TCP session was resumed in QUIC")
	}
}
