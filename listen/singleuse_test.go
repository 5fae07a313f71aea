package listen_test

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/hellotest"
	"github.com/reprise-tls/reprise/listen"
)

// tickets is a session cache of a client that tells the last ticket.
type tickets struct {
	tls.ClientSessionCache
	last []byte
}

func (c *tickets) Put(key string, session *tls.ClientSessionState) {
	c.last, _, _ = session.ResumptionState()
	c.ClientSessionCache.Put(key, session)
}

// TestObserverBurnsNothing: who has only seen the ID of a TLS 1.2 session for single use can't use it up, whichever hello he
// offers it in.
func TestObserverBurnsNothing(t *testing.T) {
	for _, engine := range []string{listen.EngineAuto, listen.EngineNative} {
		t.Run(engine, func(t *testing.T) {
			cache := newCache(t, reprise.Options{SingleUse: true})
			ln := newListener(t, listenTCP(t), cache, listen.Options{Engine: engine})
			serveEcho(ln)
			config := clientConfig(t, tls.VersionTLS12)
			sessions := &tickets{ClientSessionCache: config.ClientSessionCache}
			config.ClientSessionCache = sessions
			if _, err := exchange(ln.Addr().String(), config); err != nil {
				t.Fatal(err)
			}
			raw := dial(t, ln)
			raw.SetDeadline(time.Now().Add(20 * time.Second))
			hello := hellotest.Hello{
				Version: tls.VersionTLS12, ServerName: config.ServerName, Ticket: sessions.last, NoSignatureAlgorithms: true,
			}
			if _, err := raw.Write(hello.Marshal(t)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, raw) // until the server has given up
			state, err := exchange(ln.Addr().String(), config)
			if err != nil {
				t.Fatal(err)
			}
			if !state.DidResume {
				t.Error("the session was used up")
			}
			if state, err := exchange(ln.Addr().String(), config); err != nil || state.DidResume {
				t.Errorf("a second use: resumed %v, %v", state.DidResume, err)
			}
		})
	}
}

// TestSingleUseLeftToStandard: what native would not make, crypto/tls takes.
func TestSingleUseLeftToStandard(t *testing.T) {
	auto := listen.Options{Engine: listen.EngineAuto}
	http2 := func(c *tls.Config) { c.NextProtos = []string{"h2"} }
	cbc := func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA} }
	ownRand := func(c *tls.Config) { c.Rand = randomReader{} }
	for _, test := range []struct {
		name    string
		options listen.Options
		server  func(*tls.Config)
		client  func(*tls.Config)
	}{
		{"engine", listen.Options{Engine: listen.EngineStandard}, nil, nil},
		{"HTTP/2", auto, http2, http2},
		{"cipher suite", auto, nil, cbc},
		{"configuration", auto, ownRand, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{SingleUse: true}), test.options)
			serveEcho(ln)
			config := serverConfig(t)
			if test.server != nil {
				test.server(config)
			}
			if err := ln.SetConfig(config); err != nil {
				t.Fatal(err)
			}
			client := clientConfig(t, tls.VersionTLS12)
			if test.client != nil {
				test.client(client)
			}
			for _, want := range []bool{false, true, true} { // each gives a new one
				state, err := exchange(ln.Addr().String(), client)
				if err != nil {
					t.Fatal(err)
				}
				if state.DidResume != want {
					t.Errorf("resumed: %v, want %v", state.DidResume, want)
				}
			}
		})
	}
}

type randomReader struct{}

func (randomReader) Read(b []byte) (int, error) { return rand.Read(b) }
