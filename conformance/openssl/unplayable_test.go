package openssl_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// TestNativeIsForTLS12 holds what newServer takes for granted. When it fails, the scenarios of TLS 1.3 can be played on the native
// engine.
func TestNativeIsForTLS12(t *testing.T) {
	t.Parallel()
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
	listener, err := listen.New(inner, config, cache, listen.Options{Engine: listen.EngineNative})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go listener.Accept() //nolint:errcheck // there will be none
	client, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err == nil {
		client.Close()
		t.Error("the native engine speaks TLS 1.3")
	}
}
