//go:build !race

package quic_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
	"github.com/reprise-tls/reprise/store/memory"
)

// A client meets two servers of a fleet, one after the other. On the second it says something before the handshake is over.
func Example() {
	certificate, roots := exampleCertificate()
	keys, store := reprise.RandomFleetKeys(), exampleStore{new(memory.Store)}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	serve := func() (addr net.Addr, end func()) {
		cache, closeCache := exampleCache(keys, store)
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"echo"}}
		if err := stdtls.Attach(config, cache); err != nil {
			log.Fatal(err)
		}
		listener, err := quic.ListenAddrEarly("127.0.0.1:0", config, &quic.Config{Allow0RTT: true})
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			for {
				conn, err := listener.Accept(ctx)
				if err != nil {
					return
				}
				go func() {
					stream, err := conn.AcceptStream(ctx)
					if err != nil {
						return
					}
					_, _ = io.Copy(stream, stream)
					stream.Close()
				}()
			}
		}()
		return listener.Addr(), func() { listener.Close(); closeCache() }
	}
	first, endFirst := serve()
	defer endFirst()
	second, endSecond := serve()
	defer endSecond()

	sessions := newExampleSessions()
	config := &tls.Config{RootCAs: roots, ServerName: "example.org", NextProtos: []string{"echo"}, ClientSessionCache: sessions}
	for _, addr := range []net.Addr{first, second} {
		conn, err := quic.DialAddrEarly(ctx, addr.String(), config, nil)
		if err != nil {
			log.Fatal(err)
		}
		if err := echo(ctx, conn, "hello"); err != nil {
			log.Fatal(err)
		}
		sessions.wait()
		state := conn.ConnectionState()
		fmt.Printf("resumed: %v, early data: %v\n", state.TLS.DidResume, state.Used0RTT)
		_ = conn.CloseWithError(0, "")
	}
	// Output:
	// resumed: false, early data: false
	// resumed: true, early data: true
}

// A web server of HTTP/3. The same configuration may serve HTTP/1 and HTTP/2 as well.
func Example_http3() {
	certificate, roots := exampleCertificate()
	cache, end := exampleCache(reprise.RandomFleetKeys(), exampleStore{new(memory.Store)})
	defer end()
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if err := stdtls.Attach(config, cache); err != nil {
		log.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	server := &http3.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "resumed: %v", r.TLS.DidResume)
	})}
	defer server.Close()
	go func() { _ = server.Serve(conn) }()

	sessions := newExampleSessions()
	for range 2 {
		transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.org", ClientSessionCache: sessions}}
		request, err := http.NewRequest(http3.MethodGet0RTT, "https://"+conn.LocalAddr().String(), nil)
		if err != nil {
			log.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			log.Fatal(err)
		}
		sessions.wait()
		transport.Close()
		fmt.Printf("%s\n", body)
	}
	// Output:
	// resumed: false
	// resumed: true
}

// exampleCache returns a cache that is bound to a store, and what ends both.
func exampleCache(keys *reprise.FleetKeys, store reprise.Store) (cache *reprise.Cache, end func()) {
	cache, err := reprise.New(reprise.Options{Keys: keys, LookupTimeout: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return cache, func() { binding.Close(context.Background()); cache.Close() }
}

// An exampleStore stands for Redis: its takes are good enough for early data.
type exampleStore struct{ *memory.Store }

func (exampleStore) TakePromise() reprise.TakePromise {
	return reprise.TakePromise{Atomic: true, Durable: true}
}

// exampleSessions is a session cache that says when a session has come: servers send it after the handshake.
type exampleSessions struct {
	tls.ClientSessionCache
	came chan struct{}
}

func newExampleSessions() *exampleSessions {
	return &exampleSessions{tls.NewLRUClientSessionCache(1), make(chan struct{}, 10)}
}

func (s *exampleSessions) Put(key string, session *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, session)
	if session != nil {
		s.came <- struct{}{}
	}
}

func (s *exampleSessions) wait() {
	<-s.came
	time.Sleep(20 * time.Millisecond) // for the server to store it
}

// exampleCertificate returns a certificate for example.org and a pool that trusts it.
func exampleCertificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"example.org"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
