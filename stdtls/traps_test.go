package stdtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
)

// TestUnwrapNeverReturnsAnError: crypto/tls would end the connection without an alert.
func TestUnwrapNeverReturnsAnError(t *testing.T) {
	for _, test := range []struct {
		name   string
		get    func(context.Context) error
		reason reprise.Reason
	}{
		{"error", func(context.Context) error { return errors.New("the store is down") }, reprise.StoreError},
		{"panic", func(context.Context) error { panic("the store is broken") }, reprise.StoreError},
		{"timeout", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, reprise.StoreTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				cache := newCache(t, reprise.Options{})
				cache.SetMode(reprise.ModeServer | reprise.ModeNoInternal)
				external := newExternalCache(cache)
				config := serverConfig(t)
				attach(t, config, cache)
				addr := serve(t, config)
				c := newClient(t, version)
				c.expect(addr, false)

				external.beforeGet = test.get
				c.expect(addr, false)
				expectOutcome(t, cache, test.reason, 1)
				external.beforeGet = nil
				c.expect(addr, true)
			})
		})
	}
}

// TestUnwrapOfNonsense: whatever a client offers, it gets a full handshake.
func TestUnwrapOfNonsense(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	for _, length := range []int{1, 31, 32, 33, 1000, 10_000} {
		h := hello{version: tls.VersionTLS12, ticket: random(length)}
		if answer := h.send(t, addr); !isServerHello(answer) {
			t.Errorf("TLS 1.2, ticket of %d bytes: answer %x", length, answer)
		}
		h = hello{version: tls.VersionTLS13, identities: [][]byte{random(length)}}
		if answer := h.send(t, addr); !isServerHello(answer) {
			t.Errorf("TLS 1.3, identity of %d bytes: answer %x", length, answer)
		}
	}
}

// TestNeverAnEmptyTicketInTLS13: clients abort with decode_error.
func TestNeverAnEmptyTicketInTLS13(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*reprise.Cache)
	}{
		{"mode off", func(c *reprise.Cache) { c.SetMode(reprise.ModeOff) }},
		{"no ID", func(c *reprise.Cache) {
			c.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { return reprise.SessionID{}, errors.New("no") })
		}},
		{"panic", func(c *reprise.Cache) {
			c.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { panic("no") })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				cache := newCache(t, reprise.Options{})
				test.spoil(cache)
				config := serverConfig(t)
				attach(t, config, cache)
				addr := serve(t, config)
				c := newClient(t, version)
				c.expect(addr, false)
				c.expect(addr, false)
				if number := cache.Stats().Number; number != 0 {
					t.Errorf("%d sessions in the cache", number)
				}
				ticket := c.sessions.last()
				if version == tls.VersionTLS13 && len(ticket) != 32 || version == tls.VersionTLS12 && len(ticket) != 0 {
					t.Errorf("the client got a ticket of %d bytes", len(ticket))
				}
			})
		})
	}
}

// TestNilAndEmptyIdentity: the hook is called for TLS 1.2 clients that offer nothing. They cause no lookup.
func TestNilAndEmptyIdentity(t *testing.T) {
	for _, test := range []struct {
		name   string
		ticket []byte
	}{
		{"no session_ticket extension", nil},
		{"no ticket in it", []byte{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := newCache(t, reprise.Options{})
			external := newExternalCache(cache)
			config := serverConfig(t)
			attach(t, config, cache)
			h := hello{version: tls.VersionTLS12, ticket: test.ticket}
			if answer := h.send(t, serve(t, config)); !isServerHello(answer) {
				t.Errorf("answer %x", answer)
			}
			if _, gets, _ := external.counts(); gets != 0 || cache.Stats().Misses != 0 {
				t.Errorf("%d gets, %d misses", gets, cache.Stats().Misses)
			}
		})
	}
}

// TestNoPSKModeNoTicketExtension: a client that can't resume, without psk_dhe_ke in TLS 1.3 or the session_ticket extension in TLS 1.2, is
// served, and no session is made for it: crypto/tls does not call WrapSession. A client of Go without a cache is one.
func TestNoPSKModeNoTicketExtension(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		made := 0
		cache.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { made++; return true })
		config := serverConfig(t)
		attach(t, config, cache)
		c := newClient(t, version)
		c.config.ClientSessionCache = nil
		addr := serve(t, config)
		for range 2 {
			if c.dial(addr).DidResume {
				t.Error("resumed")
			}
		}
		if stats := cache.Stats(); made != 0 || stats.Number != 0 || stats.Accept != 2 {
			t.Errorf("%d sessions were made, %+v", made, stats)
		}
	})
}

func TestAtMostFiveIdentities(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	external := newExternalCache(cache)
	config := serverConfig(t)
	attach(t, config, cache)
	h := hello{version: tls.VersionTLS13, identities: randomIdentities(100)}
	if answer := h.send(t, serve(t, config)); !isServerHello(answer) {
		t.Fatalf("answer %x", answer)
	}
	if _, gets, _ := external.counts(); gets != 5 {
		t.Errorf("100 identities made %d gets, want 5", gets)
	}
}

// TestOneDeadlineForAllIdentities: a client that offers many identities does not hold up its handshake for longer.
func TestOneDeadlineForAllIdentities(t *testing.T) {
	const timeout = 200 * time.Millisecond
	cache := newCache(t, reprise.Options{LookupTimeout: timeout})
	external := newExternalCache(cache)
	external.beforeGet = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)

	start := time.Now()
	h := hello{version: tls.VersionTLS13, identities: randomIdentities(5)}
	if answer := h.send(t, addr); !isServerHello(answer) {
		t.Fatalf("answer %x", answer)
	}
	if took := time.Since(start); took < timeout || took > 4*timeout {
		t.Errorf("the handshake took %v, with %v for lookups", took, timeout)
	}
	external.mu.Lock()
	defer external.mu.Unlock()
	if len(external.getDeadline) == 0 {
		t.Fatal("no lookup")
	}
	for _, deadline := range external.getDeadline {
		if !deadline.Equal(external.getDeadline[0]) || deadline.IsZero() {
			t.Errorf("deadlines %v", external.getDeadline)
		}
	}
}

// TestWrapBeforeTheClientHasProvedAnything: a TLS 1.3 ClientHello makes a session. It can't push out that of a client
// that has proved itself, and its number is bounded for each source.
func TestWrapBeforeTheClientHasProvedAnything(t *testing.T) {
	const bound = 7
	cache := newCache(t, reprise.Options{UnconfirmedPerSource: bound})
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.expect(addr, false) // confirmed

	for range 3 * bound {
		h := hello{version: tls.VersionTLS13}
		if answer := h.send(t, addr); !isServerHello(answer) {
			t.Fatalf("answer %x", answer)
		}
	}
	stats := cache.Stats()
	if stats.Unconfirmed != bound || stats.Number != bound+1 || stats.NotKept != 2*bound {
		t.Errorf("%d sessions, %d of them unconfirmed, %d not kept; want %d, %d, %d",
			stats.Number, stats.Unconfirmed, stats.NotKept, bound+1, bound, 2*bound)
	}
	h := hello{version: tls.VersionTLS13, from: "127.0.0.2"}
	if h.send(t, addr); cache.Stats().Unconfirmed != bound+1 {
		t.Error("one source's sessions were counted against another")
	}
	c.expect(addr, true)
}

// TestWrapAfterTheClientHasProvedItself: such sessions are kept as confirmed, whoever binds the cache.
func TestWrapAfterTheClientHasProvedItself(t *testing.T) {
	cache := newCache(t, reprise.Options{Context: []byte("test")})
	config := serverConfig(t)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asking := serverConfig(t)
		if hello.ServerName == "b.example" {
			asking.ClientAuth = tls.RequestClientCert
		}
		return asking, nil
	}
	attach(t, config, cache)
	addr := serve(t, config)

	expectNumber := func(number, unconfirmed int) {
		t.Helper()
		if s := cache.Stats(); s.Number != number || s.Unconfirmed != unconfirmed {
			t.Fatalf("%d sessions, %d of them unconfirmed; want %d, %d", s.Number, s.Unconfirmed, number, unconfirmed)
		}
	}
	newClient(t, tls.VersionTLS12).expect(addr, false) // Finished
	expectNumber(1, 0)
	c := newClient(t, tls.VersionTLS13)
	c.expect(addr, false) // nothing yet
	expectNumber(2, 1)
	c.expect(addr, true) // binder
	expectNumber(3, 0)
	c = newClient(t, tls.VersionTLS13)
	c.config.ServerName = "b.example"
	c.expect(addr, false) // an answer under the handshake keys
	expectNumber(4, 0)
}

// TestOtherServerNameDeclined: crypto/tls would resume a session of a.example on b.example.
func TestOtherServerNameDeclined(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		config := serverConfig(t)
		attach(t, config, cache)
		addr := serve(t, config)
		c := newClient(t, version)
		c.expect(addr, false)
		c.config.ServerName = "b.example"
		c.expect(addr, false)
		expectOutcome(t, cache, reprise.ServerName, 1)
		c.config.ServerName = "B.EXAMPLE"
		c.expect(addr, true)
	})
}

// TestOtherScopeDeclined: what was made where no certificate is asked for does not resume where one is, and the
// session of one context not in another.
func TestOtherScopeDeclined(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{Context: []byte("one")})
		config, asking := serverConfig(t), serverConfig(t)
		asking.ClientAuth = tls.RequestClientCert
		attach(t, config, cache)
		attach(t, asking, cache)
		addr, askingAddr := serve(t, config), serve(t, asking)

		c := newClient(t, version)
		c.expect(addr, false)
		c.expect(askingAddr, false)
		expectOutcome(t, cache, reprise.OtherScope, 1)
		c.expect(askingAddr, true)
		if err := cache.SetContext([]byte("another")); err != nil {
			t.Fatal(err)
		}
		c.expect(askingAddr, false)
		expectOutcome(t, cache, reprise.OtherScope, 2)
	})
}

// TestSixDayRenewalEndsAtDaySeven: each TLS 1.3 resumption makes a new ticket, so that to crypto/tls a client could go
// on for ever. TLS 1.2 sessions keep their age.
func TestSixDayRenewalEndsAtDaySeven(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		start := time.Now()
		now := newClock(start)
		cache := newCache(t, reprise.Options{Now: now.read})
		cache.SetTimeout(7 * 24 * time.Hour)
		config := serverConfig(t)
		config.Time = now.read
		attach(t, config, cache)
		addr := serve(t, config)

		c := newClient(t, version)
		c.config.Time = now.read
		c.expect(addr, false)
		now.set(start.Add(6 * 24 * time.Hour))
		c.expect(addr, true)
		now.set(start.Add(7*24*time.Hour - time.Minute))
		c.expect(addr, true)
		now.set(start.Add(7*24*time.Hour + time.Minute))
		c.expect(addr, false) // the client counts from the day it got its last ticket, and offers that
		expectOutcome(t, cache, reprise.Expired, 1)
		c.expect(addr, true) // a new lineage
	})
}

func TestResumedTLS12KeepsItsHandleAndWritesNothing(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	external := newExternalCache(cache)
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.expect(addr, false)
	for range 5 {
		c.expect(addr, true)
	}
	if puts, gets, takes := external.counts(); puts != 1 || gets != 0 || takes != 0 {
		t.Errorf("%d puts, %d gets, %d takes; want 1, 0, 0", puts, gets, takes)
	}
	for _, ticket := range c.sessions.tickets {
		if !bytes.Equal(ticket, c.sessions.tickets[0]) {
			t.Error("the handle has changed")
		}
	}
	if number := cache.Stats().Number; number != 1 {
		t.Errorf("%d sessions, want 1", number)
	}
}

// TestSingleUseGetsANewHandle: a session that was taken is gone, so the connection needs another one.
func TestSingleUseGetsANewHandle(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{SingleUse: true})
		external := newExternalCache(cache)
		cache.SetTakeCallback(external.take)
		config := serverConfig(t)
		attach(t, config, cache)
		addr := serve(t, config)
		c := newClient(t, version)
		c.expect(addr, false)
		used := c.sessions.session
		for range 3 {
			c.expect(addr, true)
		}
		if puts, _, takes := external.counts(); puts != 4 || takes != 3 {
			t.Errorf("%d puts, %d takes; want 4, 3", puts, takes)
		}
		c.sessions.session = used
		c.expect(addr, false)
	})
}

// TestResumptionCountsOnlyWhenTheEngineDid: a session that crypto/tls does not take though the cache would.
func TestResumptionCountsOnlyWhenTheEngineDid(t *testing.T) {
	ca, _ := certtest.Shared(t)
	cache := newCache(t, reprise.Options{})
	ecdsa, rsa := serverConfig(t), serverConfig(t)
	rsa.Certificates = []tls.Certificate{ca.ServerRSA(t, "a.example")}
	attach(t, ecdsa, cache)
	attach(t, rsa, cache)

	c := newClient(t, tls.VersionTLS12)
	c.expect(serve(t, ecdsa), false)
	c.expect(serve(t, rsa), false) // the suite of the session is for ECDSA keys
	expectOutcome(t, cache, reprise.Refused, 1)
	expectOutcome(t, cache, reprise.Resumed, 0)
	if hits := cache.Stats().Hits; hits != 0 {
		t.Errorf("%d hits", hits)
	}
}

// TestCipherSuiteNotEnabledAnyMore: in TLS 1.2 a session resumes with its own suite alone.
func TestCipherSuiteNotEnabledAnyMore(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	config, strict := serverConfig(t), serverConfig(t)
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	strict.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	attach(t, config, cache)
	attach(t, strict, cache)
	c := newClient(t, tls.VersionTLS12)
	c.expect(serve(t, config), false)
	c.expect(serve(t, strict), false)
	expectOutcome(t, cache, reprise.CipherSuite, 1)
}

// TestOtherVersionDeclined: a TLS 1.2 ticket offered in TLS 1.3, and the other way round.
func TestOtherVersionDeclined(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	for _, version := range versions {
		c := newClient(t, version)
		c.expect(addr, false)
		other := hello{version: tls.VersionTLS13, serverName: "a.example", identities: [][]byte{c.sessions.last()}}
		if version == tls.VersionTLS13 {
			other = hello{version: tls.VersionTLS12, serverName: "a.example", ticket: c.sessions.last()}
		}
		if answer := other.send(t, addr); !isServerHello(answer) {
			t.Errorf("%s: answer %x", tls.VersionName(version), answer)
		}
		c.expect(addr, true)
	}
}

// TestOlderVersionsHaveNoSessions: TLS 1.1, where a server still allows it.
func TestOlderVersionsHaveNoSessions(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	config := serverConfig(t)
	config.MinVersion = tls.VersionTLS10
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS11)
	c.expect(addr, false)
	c.expect(addr, false)
	if number := cache.Stats().Number; number != 0 {
		t.Errorf("%d sessions", number)
	}
}

// TestOneSessionForManyConnectionsAtOnce is for the race detector.
func TestOneSessionForManyConnectionsAtOnce(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		config := serverConfig(t)
		attach(t, config, cache)
		addr := serve(t, config)
		first := newClient(t, version)
		first.expect(addr, false)
		var clients sync.WaitGroup
		for range 32 {
			clients.Go(func() {
				c := newClient(t, version)
				c.sessions.session = first.sessions.session
				if state, err := c.try(addr); err != nil || !state.DidResume {
					t.Errorf("resumed %v, %v", state.DidResume, err)
				}
			})
		}
		clients.Wait()
		expectOutcome(t, cache, reprise.Resumed, 32)
	})
}

// TestNoExtendedMasterSecretAborts: RFC 7627, section 5.3, wants it if the session has the extension and the
// ClientHello does not. The session stays.
func TestNoExtendedMasterSecretAborts(t *testing.T) {
	cache := newCache(t, reprise.Options{SingleUse: true})
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.expect(addr, false)
	h := hello{version: tls.VersionTLS12, serverName: "a.example", ticket: c.sessions.last(), noEMS: true}
	if answer := h.send(t, addr); isServerHello(answer) {
		t.Error("the handshake went on")
	}
	h.ticket = random(32)
	if answer := h.send(t, addr); !isServerHello(answer) {
		t.Errorf("a ClientHello without extended master secret and without a session got %x", answer)
	}
	c.expect(addr, true)
}

// TestWrongBinderRemovesNothing: IDs travel in clear, and who saw one can offer it.
func TestWrongBinderRemovesNothing(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	external := newExternalCache(cache)
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS13)
	c.expect(addr, false)
	h := hello{version: tls.VersionTLS13, serverName: "a.example", identities: [][]byte{c.sessions.last()}}
	if answer := h.send(t, addr); isServerHello(answer) {
		t.Error("a binder of zeros was accepted")
	}
	if len(external.removals) != 0 {
		t.Errorf("removals: %v", external.removals)
	}
	c.expect(addr, true)
}

// TestWrongBinderSpoilsSingleUse is the price of a take before the binder is verified, which crypto/tls leaves no
// way around.
func TestWrongBinderSpoilsSingleUse(t *testing.T) {
	cache := newCache(t, reprise.Options{SingleUse: true})
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS13)
	c.expect(addr, false)
	h := hello{version: tls.VersionTLS13, serverName: "a.example", identities: [][]byte{c.sessions.last()}}
	h.send(t, addr)
	c.expect(addr, false)
}

// TestSecondIdentityResumes: identities before it that miss do no harm.
func TestSecondIdentityResumes(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	config := serverConfig(t)
	attach(t, config, cache)
	perConnection, err := config.GetConfigForClient(newHelloInfo(t))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, tls.VersionTLS13)
	c.expect(serve(t, config), false)
	state := tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, ServerName: "a.example"}
	for i, identity := range append(randomIdentities(2), c.sessions.last()) {
		session, err := perConnection.UnwrapSession(identity, state)
		if err != nil || (session != nil) != (i == 2) {
			t.Errorf("identity %d: session %v, error %v", i, session != nil, err)
		}
	}
}

// newHelloInfo returns what crypto/tls tells of a ClientHello for a.example.
func newHelloInfo(t testing.TB) *tls.ClientHelloInfo {
	t.Helper()
	var info *tls.ClientHelloInfo
	config := serverConfig(t)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		info = hello
		return nil, errors.New("seen enough")
	}
	if _, err := newClient(t, tls.VersionTLS13).try(serve(t, config)); err == nil {
		t.Fatal("no error")
	}
	return info
}

// TestObserverProlongsNothing: who has seen a ClientHello of TLS 1.2, and can't finish its handshake, keeps no session alive.
func TestObserverProlongsNothing(t *testing.T) {
	now := newClock(time.Now())
	cache := newCache(t, reprise.Options{Now: now.read})
	cache.SetMode(cache.Mode() | reprise.ModeUpdateTime)
	cache.SetTimeout(time.Hour)
	config := serverConfig(t)
	attach(t, config, cache)
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.expect(addr, false)
	ticket := c.sessions.last()
	for range 3 {
		now.set(now.read().Add(50 * time.Minute))
		observer := hello{version: tls.VersionTLS12, serverName: "a.example", ticket: ticket}
		if answer := observer.send(t, addr); !isServerHello(answer) {
			t.Fatalf("answer %x", answer)
		}
	}
	expectOutcome(t, cache, reprise.Resumed, 1)
	c.expect(addr, false)
}
