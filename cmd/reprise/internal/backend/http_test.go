package backend_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/backend"
)

var discard = slog.New(slog.DiscardHandler)

// received returns what the backend gets of a request that came over TLS with headers of its own, and others.
func received(t *testing.T, state *tls.ConnectionState, others map[string]string) *http.Request {
	t.Helper()
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, "answer")
	}))
	defer server.Close()
	target, err := url.Parse(server.URL + "/base")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://site.example/path?q=1", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	r.TLS = state
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Client-Cert", "Client-Cert-Chain"} {
		r.Header.Set(name, "forged")
		r.Header[strings.ReplaceAll(name, "-", "_")] = []string{"forged"}
	}
	for name, value := range others {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	backend.NewHTTP(target, discard).ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Body.String() != "answer" {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
	return got
}

func TestHTTPHeaders(t *testing.T) {
	r := received(t, &tls.ConnectionState{}, nil)
	if r.URL.String() != "/base/path?q=1" || r.Host != "site.example" {
		t.Errorf("the backend got %s of %s", r.URL, r.Host)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "site.example",
		"Forwarded": "", "Client-Cert": "", "Client-Cert-Chain": "", "Accept-Encoding": "",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name := range r.Header {
		if strings.Contains(name, "_") {
			t.Errorf("the backend got %s", name)
		}
	}
}

func TestHTTPUpgrades(t *testing.T) {
	for upgrade, want := range map[string]string{"websocket": "websocket", "WebSocket": "WebSocket", "h2c": "", "h2c, websocket": "", "": ""} {
		r := received(t, &tls.ConnectionState{}, map[string]string{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAMAAABk"})
		if got := r.Header.Get("Upgrade"); got != want || (got != "") != (r.Header.Get("Connection") != "") {
			t.Errorf("an upgrade to %q: the backend got %q, and of the connection %q", upgrade, got, r.Header.Get("Connection"))
		}
	}
}

func TestHTTPClientCert(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("the certificate")}
	chain := []*x509.Certificate{leaf}
	unverified := &tls.ConnectionState{PeerCertificates: chain}
	verified := &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
	if got := received(t, unverified, nil).Header.Get("Client-Cert"); got != "" {
		t.Errorf("Client-Cert of an unverified certificate: %q", got)
	}
	want := ":" + base64.StdEncoding.EncodeToString(leaf.Raw) + ":"
	if got := received(t, verified, nil).Header.Get("Client-Cert"); got != want {
		t.Errorf("Client-Cert: %q, want %q", got, want)
	}
}

// TestHTTPKeepsConnections: with as many requests at a time as before there is no new connection, and no proxy of the environment between.
func TestHTTPKeepsConnections(t *testing.T) {
	const atATime = 20
	var conns atomic.Int32
	var together sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		together.Done()
		together.Wait()
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	handler := backend.NewHTTP(target, discard)
	if handler.(*httputil.ReverseProxy).Transport.(*http.Transport).Proxy != nil {
		t.Error("the backend is reached by the proxies of the environment")
	}
	for range 3 {
		together.Add(atATime)
		var requests sync.WaitGroup
		for range atATime {
			requests.Go(func() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://site.example/", nil))
			})
		}
		requests.Wait()
	}
	if n := conns.Load(); n != atATime {
		t.Errorf("%d connections for %d requests at a time", n, atATime)
	}
}

func TestHTTPBackendDown(t *testing.T) {
	w := httptest.NewRecorder()
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	backend.NewHTTP(target, discard).ServeHTTP(w, httptest.NewRequest("GET", "https://site.example/", nil))
	if w.Code != http.StatusBadGateway {
		t.Errorf("got %d, want %d", w.Code, http.StatusBadGateway)
	}
}
