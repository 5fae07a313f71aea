// Package grpc_test checks that clients of grpc-go servers resume from the cache.
package grpc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
	"github.com/reprise-tls/reprise/stdtls"
)

func TestAttach(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		config, roots := newConfig(t)
		cache := newCache(t)
		if err := stdtls.Attach(config, cache); err != nil {
			t.Fatal(err)
		}
		inner := listenTCP(t)
		serve(t, grpc.NewServer(grpc.Creds(credentials.NewTLS(config))), inner)
		checkResumption(t, inner.Addr().String(), clientConfig(roots, version))
		if got := cache.Stats().Outcomes[reprise.Resumed]; got != 2 {
			t.Errorf("the cache counts %d resumptions, want 2", got)
		}
	})
}

// TestListen: the server gets connections whose handshake is complete, and needs no credentials.
func TestListen(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		config, roots := newConfig(t)
		config.NextProtos = []string{"h2"}
		cache := newCache(t)
		inner := listenTCP(t)
		ln, err := listen.New(inner, config, cache, listen.Options{})
		if err != nil {
			t.Fatal(err)
		}
		serve(t, grpc.NewServer(), ln)
		checkResumption(t, inner.Addr().String(), clientConfig(roots, version))
		if got := cache.Stats().Outcomes[reprise.Resumed]; got != 2 {
			t.Errorf("the cache counts %d resumptions, want 2", got)
		}
	})
}

func forEachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { f(t, version) })
	}
}

// checkResumption makes three connections, one after the other; the second and the third must resume.
func checkResumption(t *testing.T, addr string, config *tls.Config) {
	t.Helper()
	for _, want := range []bool{false, true, true} {
		if got := call(t, addr, config); got != want {
			t.Errorf("resumed = %v, want %v", got, want)
		}
	}
}

// call makes one call on a connection of its own, and reports whether the connection was resumed.
func call(t *testing.T, addr string, config *tls.Config) (resumed bool) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var p peer.Peer
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
	if err != nil {
		t.Fatal(err)
	}
	return p.AuthInfo.(credentials.TLSInfo).State.DidResume
}

func serve(t *testing.T, server *grpc.Server, ln net.Listener) {
	t.Helper()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func newCache(t *testing.T) *reprise.Cache {
	t.Helper()
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

func clientConfig(roots *x509.CertPool, version uint16) *tls.Config {
	return &tls.Config{
		RootCAs:            roots,
		ServerName:         "grpc.example",
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

// newConfig returns the configuration of a server with a self-signed certificate, and a pool that trusts it.
func newConfig(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "grpc.example"},
		DNSNames:     []string{"grpc.example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}
