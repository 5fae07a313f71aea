package stdtls_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/reprise-tls/reprise"
)

// reportTLS answers with the protocol and whether the connection was resumed.
var reportTLS = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %v", r.Proto, r.TLS.DidResume)
})

// startHTTPS serves handler with [http.Server.ServeTLS], which clones the configuration and adds to it.
func startHTTPS(t *testing.T, config *tls.Config, handler http.Handler) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { server.Close() })
	return "https://" + ln.Addr().String()
}

// get makes one request on a connection of its own.
func (c *client) get(url string, http2 bool) (body string) {
	c.t.Helper()
	transport := &http.Transport{TLSClientConfig: c.config.Clone(), Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func TestNetHTTP(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		name := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
		t.Run(name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				config := serverConfig(t)
				attach(t, config, newCache(t, reprise.Options{}))
				url := startHTTPS(t, config, reportTLS)
				c := newClient(t, version)
				for _, resumed := range []bool{false, true, true} {
					if got, want := c.get(url, http2), fmt.Sprint(name, " ", resumed); got != want {
						t.Fatalf("got %q, want %q", got, want)
					}
				}
			})
		})
	}
}

func TestReverseProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "from behind")
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	cache := newCache(t, reprise.Options{})
	config := serverConfig(t)
	attach(t, config, cache)
	url := startHTTPS(t, config, httputil.NewSingleHostReverseProxy(target))
	c := newClient(t, tls.VersionTLS13)
	for range 3 {
		if got := c.get(url, true); got != "from behind" {
			t.Fatalf("got %q", got)
		}
	}
	expectOutcome(t, cache, reprise.Resumed, 2)
}
