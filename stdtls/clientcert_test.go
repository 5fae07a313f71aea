package stdtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
)

// chainOf3 is a client certificate below two intermediates, which it sends.
type chainOf3 struct {
	root        *certtest.Authority
	certificate tls.Certificate
}

func newChainOf3(t testing.TB, notAfter time.Time) chainOf3 {
	t.Helper()
	root := certtest.NewAuthority(t, "client root")
	issuer := root.Intermediate(t, "first").Intermediate(t, "second")
	return chainOf3{root, issuer.Client(t, "client", notAfter)}
}

// mutualConfig asks for client certificates.
func mutualConfig(t testing.TB, roots *x509.CertPool) *tls.Config {
	config := serverConfig(t)
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = roots
	return config
}

func mutualCache(t *testing.T) *reprise.Cache {
	t.Helper()
	return newCache(t, reprise.Options{Context: []byte("mutual")})
}

// TestClientChainOf3: crypto/tls puts the chain into every ticket. Here tickets stay at 32 bytes.
func TestClientChainOf3(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		helloLength := func(c *client, addr string) int {
			t.Helper()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			raw := &firstWrite{Conn: conn}
			tlsConn := tls.Client(raw, c.config)
			defer tlsConn.Close()
			if err := tlsConn.Handshake(); err != nil {
				t.Fatal(err)
			}
			if !tlsConn.ConnectionState().DidResume {
				t.Fatal("not resumed")
			}
			return raw.length
		}

		chain := newChainOf3(t, time.Time{})
		mutual, plain := mutualConfig(t, chain.root.Pool()), serverConfig(t)
		attach(t, mutual, mutualCache(t))
		attach(t, plain, newCache(t, reprise.Options{}))
		mutualAddr, plainAddr := serve(t, mutual), serve(t, plain)

		with, without := newClient(t, version), newClient(t, version)
		with.config.Certificates = []tls.Certificate{chain.certificate}
		with.expect(mutualAddr, false)
		without.expect(plainAddr, false)
		for range 3 {
			state := with.dial(mutualAddr)
			if !state.DidResume {
				t.Fatal("not resumed")
			}
		}
		for _, ticket := range with.sessions.tickets {
			if len(ticket) != 32 {
				t.Errorf("a ticket of %d bytes, want 32", len(ticket))
			}
		}
		grown := helloLength(with, mutualAddr) - helloLength(without, plainAddr)
		t.Logf("the ClientHello is %d bytes longer", grown)
		if grown >= 600 {
			t.Errorf("the ClientHello is %d bytes longer than without a client certificate", grown)
		}
	})
}

// A firstWrite notes the length of what is written first.
type firstWrite struct {
	net.Conn
	length int
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if w.length == 0 {
		w.length = len(b)
	}
	return w.Conn.Write(b)
}

// TestServerSeesTheClientCertificateAgain: a resumed connection has the client's chain, and verified chains of today.
func TestServerSeesTheClientCertificateAgain(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		chain := newChainOf3(t, time.Time{})
		config := mutualConfig(t, chain.root.Pool())
		states := make(chan tls.ConnectionState, 1)
		config.VerifyConnection = func(cs tls.ConnectionState) error {
			states <- cs
			return nil
		}
		attach(t, config, mutualCache(t))
		addr := serve(t, config)
		c := newClient(t, version)
		c.config.Certificates = []tls.Certificate{chain.certificate}
		for _, resumed := range []bool{false, true, true} {
			c.expect(addr, resumed)
			state := <-states
			if state.DidResume != resumed || len(state.PeerCertificates) != 3 || len(state.VerifiedChains) != 1 {
				t.Fatalf("resumed %v: %d certificates, %d chains",
					state.DidResume, len(state.PeerCertificates), len(state.VerifiedChains))
			}
			if got := len(state.VerifiedChains[0]); got != 4 || !state.VerifiedChains[0][0].Equal(chain.certificate.Leaf) {
				t.Errorf("resumed %v: a verified chain of %d, want 4", resumed, got)
			}
		}
	})
}

// trust is a mutable policy for client certificates, as a reload would change it.
type trust struct {
	config  atomic.Pointer[tls.Config]
	cache   *reprise.Cache
	addr    string
	clients chainOf3
	now     *clock
}

func newTrust(t *testing.T, version uint16, clients chainOf3) (*trust, *client) {
	t.Helper()
	now := newClock(time.Now())
	tr := &trust{clients: clients, now: now}
	tr.cache = newCache(t, reprise.Options{Context: []byte("trust"), Now: now.read})
	tr.cache.SetTimeout(24 * time.Hour)
	tr.config.Store(mutualConfig(t, clients.root.Pool()))
	config := serverConfig(t)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := tr.config.Load().Clone()
		own.Time = now.read
		return own, nil
	}
	attach(t, config, tr.cache)
	tr.addr = serve(t, config)
	c := newClient(t, version)
	c.config.Certificates = []tls.Certificate{clients.certificate}
	return tr, c
}

func TestCATakenOutOfClientCAs(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		clients := newChainOf3(t, time.Time{})
		tr, c := newTrust(t, version, clients)
		c.expect(tr.addr, false)
		c.expect(tr.addr, true)

		other := mutualConfig(t, newChainOf3(t, time.Time{}).root.Pool())
		tr.config.Store(other)
		if _, err := c.try(tr.addr); err == nil {
			t.Fatal("a client of a CA that is not trusted any more was let in")
		}
		if hits := tr.cache.Stats().Hits; hits != 1 {
			t.Errorf("%d sessions were resumed, want 1", hits)
		}
	})
}

// TestCAOfTheSameNameIsAnotherCA: the scope knows CAs by their names, the verification by their keys.
func TestCAOfTheSameNameIsAnotherCA(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		clients, namesake := newChainOf3(t, time.Time{}), newChainOf3(t, time.Time{})
		tr, c := newTrust(t, version, clients)
		c.expect(tr.addr, false)
		c.expect(tr.addr, true)
		tr.config.Store(mutualConfig(t, namesake.root.Pool()))
		c.config.Certificates = []tls.Certificate{namesake.certificate}
		c.expect(tr.addr, false)
		expectOutcome(t, tr.cache, reprise.ClientCertificate, 1)
	})
}

func TestCertificateExpired(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		soon := time.Now().Add(time.Hour).Truncate(time.Second)
		clients := newChainOf3(t, soon)
		tr, c := newTrust(t, version, clients)
		c.expect(tr.addr, false)
		tr.now.set(soon.Add(-time.Second))
		c.expect(tr.addr, true)
		tr.now.set(soon.Add(time.Second))
		if _, err := c.try(tr.addr); err == nil {
			t.Fatal("a client whose certificate has expired was let in")
		}
		if s := tr.cache.Stats(); s.Hits != 1 || s.Timeouts != 1 { // the lineage ends with the certificate
			t.Errorf("%d hits, %d timeouts; want 1, 1", s.Hits, s.Timeouts)
		}
	})
}

// TestCertificateTimeIsThatOfTheConfig: certificates have the clock of crypto/tls, sessions that of the cache.
func TestCertificateTimeIsThatOfTheConfig(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		clients := newChainOf3(t, time.Now().Add(24*time.Hour))
		now := newClock(time.Now())
		config := mutualConfig(t, clients.root.Pool())
		config.ClientAuth = tls.VerifyClientCertIfGiven
		config.Time = now.read
		cache := mutualCache(t)
		attach(t, config, cache)
		addr := serve(t, config)
		c := newClient(t, version)
		c.config.Certificates = []tls.Certificate{clients.certificate}
		c.expect(addr, false)
		now.set(time.Now().Add(25 * time.Hour))
		c.config.Certificates = nil
		c.expect(addr, false)
		expectOutcome(t, cache, reprise.ClientCertificate, 1)
	})
}

// TestVerifyPeerCertificateSaysNo: crypto/tls does not ask it when it resumes.
func TestVerifyPeerCertificateSaysNo(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		clients := newChainOf3(t, time.Time{})
		tr, c := newTrust(t, version, clients)
		var refuse, sawChain atomic.Bool
		config := mutualConfig(t, clients.root.Pool())
		config.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			sawChain.Store(len(raw) == 3 && len(chains) == 1 && len(chains[0]) == 4)
			if refuse.Load() {
				return errors.New("revoked")
			}
			return nil
		}
		tr.config.Store(config)
		c.expect(tr.addr, false)
		sawChain.Store(false)
		c.expect(tr.addr, true)
		if !sawChain.Load() {
			t.Error("VerifyPeerCertificate was not called with the chain of the session")
		}
		session := c.sessions.session
		refuse.Store(true)
		if _, err := c.try(tr.addr); err == nil {
			t.Fatal("a client whom VerifyPeerCertificate refuses was let in")
		}
		refuse.Store(false)
		c.sessions.session = session // which a TLS 1.2 client forgets when a handshake fails
		c.expect(tr.addr, true)      // the failed handshake has removed nothing
	})
}

// TestEveryClientAuthPolicy: with a certificate and without one, each policy resumes what it has made.
func TestEveryClientAuthPolicy(t *testing.T) {
	clients := newChainOf3(t, time.Time{})
	for _, policy := range []tls.ClientAuthType{
		tls.RequestClientCert, tls.RequireAnyClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert,
	} {
		for _, given := range []bool{true, false} {
			isRequired := policy == tls.RequireAnyClientCert || policy == tls.RequireAndVerifyClientCert
			if isRequired && !given {
				continue
			}
			t.Run(policy.String(), func(t *testing.T) {
				forEachVersion(t, func(t *testing.T, version uint16) {
					config := mutualConfig(t, clients.root.Pool())
					config.ClientAuth = policy
					attach(t, config, mutualCache(t))
					addr := serve(t, config)
					c := newClient(t, version)
					if given {
						c.config.Certificates = []tls.Certificate{clients.certificate}
					}
					for _, resumed := range []bool{false, true, true} {
						c.expect(addr, resumed)
					}
				})
			})
		}
	}
}

// TestStapledClientCertificate: the session of a client that staples an OCSP response is kept as crypto/tls encodes it.
func TestStapledClientCertificate(t *testing.T) {
	clients := newChainOf3(t, time.Time{})
	clients.certificate.OCSPStaple = []byte("a response")
	config := mutualConfig(t, clients.root.Pool())
	states := make(chan tls.ConnectionState, 1)
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		states <- cs
		return nil
	}
	cache := mutualCache(t)
	external := newExternalCache(cache)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS13)
	c.config.Certificates = []tls.Certificate{clients.certificate}
	for _, resumed := range []bool{false, true, true} {
		c.expect(addr, resumed)
		if state := <-states; string(state.OCSPResponse) != "a response" || len(state.VerifiedChains) != 1 {
			t.Errorf("resumed %v: OCSP response %q, %d verified chains", resumed, state.OCSPResponse, len(state.VerifiedChains))
		}
	}
	for _, s := range external.sessions {
		if len(s.Opaque()) == 0 {
			t.Error("a session with an OCSP staple is not opaque")
		}
	}
}

// TestNoExtendedMasterSecretWithClientCertificate: crypto/tls can't be made to abort the handshake then, as RFC 7627, section 5.3, wants it; the
// session does not resume.
func TestNoExtendedMasterSecretWithClientCertificate(t *testing.T) {
	chain := newChainOf3(t, time.Time{})
	config, cache := mutualConfig(t, chain.root.Pool()), mutualCache(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.config.Certificates = []tls.Certificate{chain.certificate}
	c.expect(addr, false)
	h := hello{version: tls.VersionTLS12, serverName: "a.example", ticket: c.sessions.last(), noEMS: true}
	if answer := h.send(t, addr); !isServerHello(answer) {
		t.Errorf("answer %x", answer)
	}
	c.expect(addr, true)
	expectOutcome(t, cache, reprise.Resumed, 1)
}
