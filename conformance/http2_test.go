package conformance_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// TestHTTP2: a client of HTTP/2 resumes, on each connection after the first.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	files := harness.NewFiles(t)
	server := harness.StartServer(t, files)
	client := http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{
			RootCAs:            readRoots(t, files.CA),
			ServerName:         harness.NameA,
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		},
	}}
	first := getHTTP2(t, &client, "https://"+server.Addr)
	first.isFull(t, "not-offered")
	second := getHTTP2(t, &client, "https://"+server.Addr)
	second.isOf(t, first)
	getHTTP2(t, &client, "https://"+server.Addr).isOf(t, second)
}

// getHTTP2 makes a request on a connection of its own.
func getHTTP2(t *testing.T, client *http.Client, url string) result {
	t.Helper()
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.ProtoMajor != 2 {
		t.Errorf("the answer came by %s", response.Proto)
	}
	return clientSays(parseAnswer(t, body), response.TLS.DidResume)
}
