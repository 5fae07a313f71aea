package listen_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

func TestInfoOf(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		ln := newListener(t, listenTCP(t), cache, listen.Options{})
		config := clientConfig(t, version)

		_, server := connect(t, ln, config)
		first, ok := listen.InfoOf(server)
		if !ok || first.Resumed || first.Reason != reprise.NotOffered || first.Mechanism != "" || first.Engine != "crypto/tls" ||
			first.Session == nil || first.ResumedSession != nil || first.Scope == (reprise.Scope{}) {
			t.Errorf("full handshake: %+v", first)
		}
		_, server = connect(t, ln, config)
		second, _ := listen.InfoOf(struct{ layer }{layer{server}})
		mechanism := map[uint16]string{tls.VersionTLS12: "ticket", tls.VersionTLS13: "psk"}[version]
		if !second.Resumed || second.Reason != reprise.Resumed || second.Mechanism != mechanism ||
			second.ResumedSession.ID() != first.Session.ID() || second.Scope != first.Scope {
			t.Errorf("resumption: %+v", second)
		}
		if isNew := second.Session.ID() != first.Session.ID(); isNew != (version == tls.VersionTLS13) {
			t.Errorf("the resumed connection has a new session: %v", isNew)
		}
		if got, want := second.Session.Lineage().ID, first.Session.Lineage().ID; got != want {
			t.Error("another lineage")
		}

		cache.Remove(second.Session)
		_, server = connect(t, ln, config)
		if third, _ := listen.InfoOf(server); third.Resumed || third.Reason != reprise.Unknown {
			t.Errorf("after removal: %+v", third)
		}
		if s, ok := listen.SessionOf(server); !ok || s == nil {
			t.Error("no session")
		}
	})
}

// layer is a connection of another package on top.
type layer struct{ net.Conn }

func (l layer) NetConn() net.Conn { return l.Conn }

// circle leads to itself.
type circle struct{ net.Conn }

func (c circle) NetConn() net.Conn { return c }

func TestInfoOfOtherConnections(t *testing.T) {
	for _, conn := range []net.Conn{nil, &net.TCPConn{}, tls.Server(&net.TCPConn{}, nil), circle{}} {
		if info, ok := listen.InfoOf(conn); ok {
			t.Errorf("%T: %+v", conn, info)
		}
		if _, ok := listen.SessionOf(conn); ok {
			t.Errorf("%T has a session", conn)
		}
	}
	if _, ok := listen.FromContext(t.Context()); ok {
		t.Error("a bare context has a connection")
	}
}

// TestInfoWithoutSessions: a connection that has none, because its configuration disables tickets.
func TestInfoWithoutSessions(t *testing.T) {
	config := serverConfig(t)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := serverConfig(t)
		own.SessionTicketsDisabled = true
		return own, nil
	}
	ln, err := listen.New(listenTCP(t), config, newCache(t, reprise.Options{}), listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, server := connect(t, ln, clientConfig(t, tls.VersionTLS13))
	if info, ok := listen.InfoOf(server); !ok || info != (listen.Info{Engine: listen.EngineStandard}) {
		t.Errorf("%+v, %v", info, ok)
	}
	if _, ok := listen.SessionOf(server); ok {
		t.Error("it has a session")
	}
	server.Close()
}

// TestNetHTTP: HTTP/1.1 and HTTP/2 on a Listener; under the strict rule, so that each end must have been judged clean.
func TestNetHTTP(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		protocol := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
		t.Run(protocol, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				cache := newCache(t, reprise.Options{Unclean: reprise.UncleanStrict})
				config := serverConfig(t)
				config.NextProtos = []string{"h2", "http/1.1"}
				ln, err := listen.New(listenTCP(t), config, cache, listen.Options{})
				if err != nil {
					t.Fatal(err)
				}
				closed := make(chan struct{}, 1)
				server := &http.Server{
					ConnState: func(_ net.Conn, state http.ConnState) {
						if state == http.StateClosed {
							closed <- struct{}{}
						}
					},
					ConnContext: listen.ConnContext,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						info, ok := listen.FromContext(r.Context())
						fmt.Fprint(w, r.Proto, " ", r.TLS.DidResume, " ", ok, " ", info.Reason)
					}),
				}
				go func() { _ = server.Serve(ln) }()
				t.Cleanup(func() { server.Close() })

				transport := &http.Transport{
					TLSClientConfig: clientConfig(t, version),
					Protocols:       new(http.Protocols),
				}
				transport.Protocols.SetHTTP1(!http2)
				transport.Protocols.SetHTTP2(http2)
				for i, want := range []string{" false true not-offered", " true true resumed", " true true resumed"} {
					got := get(t, transport, "https://"+ln.Addr().String())
					if got != protocol+want {
						t.Fatalf("request %d: got %q, want %q", i, got, protocol+want)
					}
					transport.CloseIdleConnections()
					<-closed
				}
			})
		})
	}
}

func get(t *testing.T, transport http.RoundTripper, url string) (body string) {
	t.Helper()
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
