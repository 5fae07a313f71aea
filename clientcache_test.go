package reprise_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// selfSigned makes a certificate for a name, and the pool that trusts it.
func selfSigned(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
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
	poolCertificates.Store(roots, der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// echo serves TLS: a byte for each connection.
func echo(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.CopyN(conn, conn, 1)
			}()
		}
	}()
	return listener.Addr().String()
}

// dial makes a connection, exchanges a byte, so that tickets are read, and reports whether it was resumed.
func dial(t *testing.T, addr string, config *tls.Config) (resumed bool) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}

// An external cache in memory, set by the callbacks as an application would.
type external struct {
	mu       sync.Mutex
	sessions map[reprise.SessionID][]byte
	puts     int
}

func (e *external) attach(c *reprise.Cache) {
	c.SetNewCallback(func(_ *reprise.Cache, s *reprise.Session) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.sessions == nil {
			e.sessions = make(map[reprise.SessionID][]byte)
		}
		e.sessions[s.ID()], _ = s.MarshalBinary()
		e.puts++
		return true
	})
	c.SetRemoveCallback(func(_ *reprise.Cache, s *reprise.Session, why reprise.Removal, _ bool) {
		if why.Final() {
			e.mu.Lock()
			defer e.mu.Unlock()
			delete(e.sessions, s.ID())
		}
	})
	c.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if b, ok := e.sessions[id]; ok {
			return reprise.ParseSession(b)
		}
		return nil, nil
	})
}

// clientProcess is what a command that runs for a moment has: a cache of its own, over the external cache of all runs.
func clientProcess(t *testing.T, keys *reprise.FleetKeys, e *external) *reprise.Cache {
	t.Helper()
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	cache.SetMode(reprise.ModeClient)
	e.attach(cache)
	return cache
}

func TestClientCacheAcrossProcesses(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			certificate, roots := selfSigned(t, "server.example")
			addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: version})
			keys, e := reprise.RandomFleetKeys(), new(external)
			config := func() *tls.Config {
				return &tls.Config{RootCAs: roots, ServerName: "server.example", MaxVersion: version}
			}
			run := func(config *tls.Config) bool {
				t.Helper()
				var err error
				config.ClientSessionCache, err = reprise.NewClientCache(clientProcess(t, keys, e), addr, config)
				if err != nil {
					t.Fatal(err)
				}
				return dial(t, addr, config)
			}
			if run(config()) {
				t.Fatal("the first connection resumed")
			}
			for i := range 6 {
				if !run(config()) {
					t.Errorf("run %d did not resume", i+2)
				}
			}
			other := config()
			other.NextProtos = []string{"h2"}
			if run(other) {
				t.Error("resumed with other protocols")
			}
			other = config()
			other.InsecureSkipVerify = true
			if run(other) {
				t.Error("resumed what was verified in one that is not")
			}
			other = config()
			other.Certificates = []tls.Certificate{certificate}
			if run(other) {
				t.Error("resumed with another client certificate")
			}
		})
	}
}

// TestClientCacheKeepsKindsApart: a session is offered where the connection is of the kind that it was made on, and nowhere else.
func TestClientCacheKeepsKindsApart(t *testing.T) {
	certificate, roots := selfSigned(t, "server.example")
	_, otherRoots := selfSigned(t, "server.example.org")
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
	cache := clientProcess(t, reprise.RandomFleetKeys(), new(external))
	newConfig := func() *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "server.example", NextProtos: []string{"echo"}}
	}
	newClient := func(addr string, config *tls.Config) *reprise.ClientCache {
		t.Helper()
		client, err := reprise.NewClientCache(cache, addr, config)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	own := newConfig()
	own.ClientSessionCache = newClient(addr, own)
	dial(t, addr, own)

	host, port, _ := net.SplitHostPort(addr)
	for _, test := range []struct {
		name   string
		addr   string
		change func(*tls.Config)
		same   bool
	}{
		{"same", addr, func(*tls.Config) {}, true},
		{"copies", addr, func(c *tls.Config) { c.RootCAs, c.ServerName = roots.Clone(), "SERVER.example." }, true},
		{"other host", net.JoinHostPort("localhost", port), func(*tls.Config) {}, false},
		{"other port", net.JoinHostPort(host, "1"), func(*tls.Config) {}, false},
		{"other server name", addr, func(c *tls.Config) { c.ServerName = "mail.example" }, false},
		{"other roots", addr, func(c *tls.Config) { c.RootCAs = otherRoots }, false},
		{"the system's roots", addr, func(c *tls.Config) { c.RootCAs = nil }, false},
		{"unverified", addr, func(c *tls.Config) { c.InsecureSkipVerify = true }, false},
		{"other protocols", addr, func(c *tls.Config) { c.NextProtos = []string{"echo", "other"} }, false},
		{"a client certificate", addr, func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }, false},
	} {
		config := newConfig()
		test.change(config)
		if _, ok := newClient(test.addr, config).Get(""); ok != test.same {
			t.Errorf("%s: a session is offered: %v", test.name, ok)
		}
	}
}

// TestClientCacheExpiry: an old session is not offered, whatever the server might say to it.
func TestClientCacheExpiry(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			certificate, roots := selfSigned(t, "server.example")
			addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: version})
			var passed time.Duration
			cache, err := reprise.New(reprise.Options{Now: func() time.Time { return time.Now().Add(passed) }})
			if err != nil {
				t.Fatal(err)
			}
			cache.SetMode(reprise.ModeClient)
			cache.SetTimeout(time.Hour) // TLS 1.2 has no lifetime of the server's; that of its TLS 1.3 tickets is 7 days
			config := &tls.Config{RootCAs: roots, ServerName: "server.example"}
			client, err := reprise.NewClientCache(cache, addr, config)
			if err != nil {
				t.Fatal(err)
			}
			config.ClientSessionCache = client
			lifetime := map[uint16]time.Duration{tls.VersionTLS12: time.Hour, tls.VersionTLS13: 7 * 24 * time.Hour}[version]
			dial(t, addr, config)
			passed = lifetime - time.Minute
			if _, ok := client.Get(""); !ok {
				t.Error("a session was not handed out before it expires")
			}
			passed = 0
			dial(t, addr, config)
			passed = lifetime + time.Minute
			if _, ok := client.Get(""); ok {
				t.Error("an expired session was handed out")
			}
			if st := cache.Stats(); st.Timeouts != 1 || st.Removals[reprise.RemovedExpired] != 1 || st.Number != 0 {
				t.Errorf("stats %+v", st)
			}

			passed = 0
			cache.SetMode(reprise.ModeOff)
			dial(t, addr, config)
			if n := cache.Stats().Number; n != 0 {
				t.Errorf("%d sessions were kept in mode off", n)
			}
		})
	}
}

func TestClientCacheTakesTLS13Tickets(t *testing.T) {
	certificate, roots := selfSigned(t, "server.example")
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}})
	cache := clientProcess(t, reprise.RandomFleetKeys(), new(external))
	config := &tls.Config{RootCAs: roots, ServerName: "server.example"}
	client, err := reprise.NewClientCache(cache, addr, config)
	if err != nil {
		t.Fatal(err)
	}
	config.ClientSessionCache = client
	dial(t, addr, config)
	if _, ok := client.Get(""); !ok {
		t.Fatal("no session after a full handshake")
	}
	if _, ok := client.Get(""); ok {
		t.Error("a ticket was handed out twice")
	}
	dial(t, addr, config)
	if st := cache.Stats(); st.Removals[reprise.RemovedUsed] != 1 || st.Connect != 4 || st.Hits != 1 {
		t.Errorf("%d sessions removed as used, %d connections, %d hits", st.Removals[reprise.RemovedUsed], st.Connect, st.Hits)
	}
}

func TestClientCacheDropsWhatFailed(t *testing.T) {
	certificate, roots := selfSigned(t, "server.example")
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
	cache := clientProcess(t, reprise.RandomFleetKeys(), new(external))
	config := &tls.Config{RootCAs: roots, ServerName: "server.example"}
	client, err := reprise.NewClientCache(cache, addr, config)
	if err != nil {
		t.Fatal(err)
	}
	config.ClientSessionCache = client
	dial(t, addr, config)
	client.Put("", nil)
	if _, ok := client.Get(""); ok {
		t.Error("a session that crypto/tls dropped was handed out")
	}
}

// TestClientCacheDropsWhatFailedOfAnEarlierRun: else every run would offer the session that the server does not want.
func TestClientCacheDropsWhatFailedOfAnEarlierRun(t *testing.T) {
	certificate, roots := selfSigned(t, "server.example")
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
	keys, e := reprise.RandomFleetKeys(), new(external)
	run := func() *tls.Config {
		config := &tls.Config{RootCAs: roots, ServerName: "server.example"}
		client, err := reprise.NewClientCache(clientProcess(t, keys, e), addr, config)
		if err != nil {
			t.Fatal(err)
		}
		config.ClientSessionCache = client
		return config
	}
	dial(t, addr, run())
	second := run().ClientSessionCache
	if _, ok := second.Get(""); !ok {
		t.Fatal("the second run has no session")
	}
	second.Put("", nil)
	if _, ok := run().ClientSessionCache.Get(""); ok {
		t.Error("the third run got the session that failed in the second")
	}
}

func TestNewClientCacheRefuses(t *testing.T) {
	client, server := newServer(t, reprise.Options{}), newServer(t, reprise.Options{})
	client.SetMode(reprise.ModeClient)
	for _, test := range []struct {
		says   string
		cache  *reprise.Cache
		addr   string
		config *tls.Config
	}{
		{"missing port", client.Cache, "server.example", &tls.Config{}},
		{"ModeClient", server.Cache, "server.example:443", &tls.Config{}},
		{"VerifyConnection", client.Cache, "server.example:443", &tls.Config{
			VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil },
		}},
		{"Certificates", client.Cache, "server.example:443", &tls.Config{
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil },
		}},
	} {
		if _, err := reprise.NewClientCache(test.cache, test.addr, test.config); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("error %v, want one that says %q", err, test.says)
		}
	}
}
