package native_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// BenchmarkBulk measures the throughput of a connection, with this engine and with crypto/tls as the server. The client is one of
// crypto/tls, over a socket of the loopback interface.
func BenchmarkBulk(b *testing.B) {
	for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256} {
		for _, direction := range []string{"sending", "receiving"} {
			for _, engine := range []string{"native", "crypto-tls"} {
				b.Run(tls.CipherSuiteName(suite)+"/"+direction+"/"+engine, func(b *testing.B) {
					from, to := bulkPair(b, suite, engine)
					if direction == "receiving" {
						from, to = to, from
					}
					transfer(b, from, to)
				})
			}
		}
	}
}

// bulkPair returns the ends of an established connection.
func bulkPair(b *testing.B, suite uint16, engine string) (server, client net.Conn) {
	b.Helper()
	authority := certtest.NewAuthority(b, "root")
	config := &tls.Config{
		Certificates: []tls.Certificate{authority.Server(b, "a.example")},
		MaxVersion:   tls.VersionTLS12, CipherSuites: []uint16{suite},
	}
	clientEnd, serverEnd := tcpPair(b)
	if server = tls.Server(serverEnd, config); engine == "native" {
		server = native.Server(serverEnd, config, newCache(b, reprise.Options{}))
	}
	client = tls.Client(clientEnd, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	failure := make(chan error, 1)
	go func() { failure <- server.(interface{ Handshake() error }).Handshake() }()
	if err := client.(*tls.Conn).Handshake(); err != nil {
		b.Fatal(err)
	}
	if err := <-failure; err != nil {
		b.Fatal(err)
	}
	return server, client
}

// transfer sends b.N pieces from one end to the other.
func transfer(b *testing.B, from, to net.Conn) {
	const piece = 64 << 10
	b.SetBytes(piece)
	received := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, make([]byte, piece))
		received <- err
	}()
	content := make([]byte, piece)
	for b.Loop() {
		if _, err := from.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := from.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-received; err != nil {
		b.Fatal(err)
	}
}
