package native_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

var _ net.Conn = (*native.Conn)(nil)

func newCache(t testing.TB, o reprise.Options) *reprise.Cache {
	t.Helper()
	cache, err := reprise.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// serve runs native servers that echo what they read until the peer closes.
func serve(t *testing.T, config *tls.Config, cache *reprise.Cache) (addr string, reasons <-chan reprise.Reason) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ended := make(chan reprise.Reason, 100)
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				conn := native.Server(raw, config, cache)
				defer conn.Close()
				if _, err := io.Copy(conn, conn); err != nil {
					t.Logf("server: %v", err)
				}
				ended <- conn.Reason()
			}()
		}
	}()
	return listener.Addr().String(), ended
}

func TestGoClientResumesByTicket(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	cache := newCache(t, reprise.Options{})
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	for _, suite := range []uint16{0, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256} {
		config := &tls.Config{
			RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		if suite != 0 {
			config.CipherSuites = []uint16{suite}
		}
		for i := range 3 {
			conn, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Fatal(err)
			}
			message := bytes.Repeat([]byte("reprise"), 10_000)
			go func() { _, _ = conn.Write(message) }() // the echo tells
			got := make([]byte, len(message))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, message) {
				t.Fatalf("echo: %v", err)
			}
			state := conn.ConnectionState()
			if state.DidResume != (i > 0) || suite != 0 && state.CipherSuite != suite {
				t.Errorf("connection %d: resumed %v, suite %s", i, state.DidResume, tls.CipherSuiteName(state.CipherSuite))
			}
			conn.Close()
		}
	}
}

func TestOpenSSLResumesBySessionID(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("openssl is not installed")
	}
	if err != nil {
		t.Skip("openssl is not installed")
	}
	_, certificate := certtest.Shared(t)
	cache := newCache(t, reprise.Options{})
	addr, reasons := serve(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	command := exec.Command(openssl, "s_client", "-connect", addr, "-servername", "a.example", "-tls1_2", "-no_ticket", "-reconnect")
	command.Stdin = strings.NewReader("")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Logf("s_client: %v", err)
	}
	if n := strings.Count(string(output), "Reused, TLSv1.2"); n != 5 {
		t.Errorf("%d of 5 connections resumed\n%s", n, output)
	}
	ended := make(map[reprise.Reason]int)
	for range 6 {
		ended[<-reasons]++
	}
	if ended[reprise.NotOffered] != 1 || ended[reprise.Resumed] != 5 {
		t.Errorf("the handshakes were %v", ended)
	}
}
