package listen_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/listen"
)

// serveInfo serves HTTP with an engine; each request is answered with how its connection was made.
func serveInfo(t *testing.T, engine string, config *tls.Config, cache *reprise.Cache) (addr string) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen.New(inner, config, cache, listen.Options{Engine: engine, NativeHTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ConnContext: listen.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, ok := listen.FromContext(r.Context())
			fmt.Fprintf(w, "%v %s %s %s %v %s %v", ok, info.Engine, info.Mechanism, info.Reason, r.TLS.DidResume, r.Proto, tls.VersionName(r.TLS.Version))
		}),
	}
	both, err := listen.NewHTTPServer(server)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = both.Serve(l) }() // until it is closed
	t.Cleanup(func() { both.Close() })
	return inner.Addr().String()
}

func engineConfig(t *testing.T) *tls.Config {
	_, certificate := certtest.Shared(t)
	return &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
}

func TestEngines(t *testing.T) {
	authority, _ := certtest.Shared(t)
	for _, test := range []struct {
		engine  string
		version uint16
		h2      bool
		first   string
		second  string
	}{
		{listen.EngineAuto, tls.VersionTLS12, false, "true native  not-offered false HTTP/1.1 TLS 1.2", "true native ticket resumed true HTTP/1.1 TLS 1.2"},
		{listen.EngineAuto, tls.VersionTLS12, true, "true native  not-offered false HTTP/2.0 TLS 1.2", "true native ticket resumed true HTTP/2.0 TLS 1.2"},
		{listen.EngineAuto, tls.VersionTLS13, true, "true crypto/tls  not-offered false HTTP/2.0 TLS 1.3", "true crypto/tls psk resumed true HTTP/2.0 TLS 1.3"},
		{listen.EngineNative, tls.VersionTLS13, true, "true native  not-offered false HTTP/2.0 TLS 1.2", "true native ticket resumed true HTTP/2.0 TLS 1.2"},
		{listen.EngineStandard, tls.VersionTLS12, true, "true crypto/tls  not-offered false HTTP/2.0 TLS 1.2", "true crypto/tls ticket resumed true HTTP/2.0 TLS 1.2"},
	} {
		t.Run(fmt.Sprintf("%s/%s/h2=%v", test.engine, tls.VersionName(test.version), test.h2), func(t *testing.T) {
			cache, err := reprise.New(reprise.Options{})
			if err != nil {
				t.Fatal(err)
			}
			addr := serveInfo(t, test.engine, engineConfig(t), cache)
			sessions := tls.NewLRUClientSessionCache(1)
			for _, want := range []string{test.first, test.second} {
				client := &http.Client{Transport: &http.Transport{
					ForceAttemptHTTP2: test.h2,
					TLSClientConfig: &tls.Config{
						RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: test.version, ClientSessionCache: sessions,
					},
				}}
				response, err := client.Get("https://" + addr)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				response.Body.Close()
				client.CloseIdleConnections()
				if string(body) != want {
					t.Errorf("%q, want %q", body, want)
				}
			}
		})
	}
}

// TestNetHTTPWithoutHelp: net/http serves all clients on a Listener with the zero Options, with HTTP/2 where they choose that.
func TestNetHTTPWithoutHelp(t *testing.T) {
	for _, test := range []struct {
		version uint16
		h2      bool
		want    string
	}{
		{tls.VersionTLS12, false, "native HTTP/1.1"},
		{tls.VersionTLS12, true, "crypto/tls HTTP/2.0"},
		{tls.VersionTLS13, true, "crypto/tls HTTP/2.0"},
	} {
		l, err := listen.New(listenTCP(t), engineConfig(t), newCache(t, reprise.Options{}), listen.Options{})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{
			ConnContext: listen.ConnContext,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				info, _ := listen.FromContext(r.Context())
				fmt.Fprintf(w, "%s %s", info.Engine, r.Proto)
			}),
		}
		go func() { _ = server.Serve(l) }() // until it is closed
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: test.h2, TLSClientConfig: clientConfig(t, test.version)}}
		for range 2 {
			response, err := client.Get("https://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			client.CloseIdleConnections()
			if string(body) != test.want {
				t.Errorf("%q, want %q", body, test.want)
			}
		}
		server.Close()
	}
}

// TestWhatNativeCannotDo goes to crypto/tls, byte for byte.
func TestWhatNativeCannotDo(t *testing.T) {
	authority, _ := certtest.Shared(t)
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveInfo(t, listen.EngineAuto, engineConfig(t), cache)
	for name, config := range map[string]*tls.Config{
		"CBC":   {CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"P-521": {CurvePreferences: []tls.CurveID{tls.CurveP521}},
	} {
		t.Run(name, func(t *testing.T) {
			config.RootCAs, config.ServerName, config.MaxVersion = authority.Pool(), "a.example", tls.VersionTLS12
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
			defer client.CloseIdleConnections()
			response, err := client.Get("https://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, _ := io.ReadAll(response.Body); !strings.HasPrefix(string(body), "true crypto/tls") {
				t.Errorf("%q", body)
			}
		})
	}
}

func TestUnknownEngine(t *testing.T) {
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen.New(nil, engineConfig(t), cache, listen.Options{Engine: "other"}); err == nil {
		t.Error("an unknown engine was accepted")
	}
}

// TestSessionIDThroughListener: a client that knows no tickets resumes, and how its connections end is judged.
func TestSessionIDThroughListener(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("openssl is not installed")
	}
	if err != nil {
		t.Skip("openssl is not installed")
	}
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveInfo(t, listen.EngineAuto, engineConfig(t), cache)
	file := t.TempDir() + "/session.pem"
	for i, want := range []string{"true native  not-offered", "true native session-id resumed", "true native session-id resumed"} {
		arguments := []string{"s_client", "-connect", addr, "-servername", "a.example", "-tls1_2", "-no_ticket", "-quiet", "-sess_out", file}
		if i > 0 {
			arguments = append(arguments, "-sess_in", file)
		}
		command := exec.CommandContext(t.Context(), openssl, arguments...)
		command.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		command.WaitDelay = 10 * time.Second
		output, err := command.Output()
		if err != nil || !strings.Contains(string(output), want) {
			t.Fatalf("connection %d: %v\n%s\nwant %q", i, err, output, want)
		}
	}
}
