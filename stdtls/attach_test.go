package stdtls_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
)

func TestResumes(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		cache := newCache(t, reprise.Options{})
		config := serverConfig(t)
		attach(t, config, cache)
		addr := serve(t, config)

		c := newClient(t, version)
		c.expect(addr, false)
		for range 3 {
			c.expect(addr, true)
		}
		for _, ticket := range c.sessions.tickets {
			if len(ticket) != 32 {
				t.Errorf("a ticket of %d bytes, want 32", len(ticket))
			}
		}
		expectOutcome(t, cache, reprise.NotOffered, 1)
		expectOutcome(t, cache, reprise.Resumed, 3)
		if hits := cache.Stats().Hits; hits != 3 {
			t.Errorf("%d hits, want 3", hits)
		}
	})
}

// TestResumedConnectionKnowsItsGroup: in TLS 1.2 the group is that of the full handshake.
func TestResumedConnectionKnowsItsGroup(t *testing.T) {
	config := serverConfig(t)
	config.CurvePreferences = []tls.CurveID{tls.CurveP384}
	var groups []tls.CurveID
	config.VerifyConnection = func(state tls.ConnectionState) error {
		groups = append(groups, state.CurveID)
		return nil
	}
	attach(t, config, newCache(t, reprise.Options{}))
	addr := serve(t, config)
	c := newClient(t, tls.VersionTLS12)
	c.expect(addr, false)
	c.expect(addr, true)
	if len(groups) != 2 || groups[0] != tls.CurveP384 || groups[1] != groups[0] {
		t.Errorf("groups %v", groups)
	}
}

// TestResumesElsewhere: a session made on one node resumes on another that has only the external cache in common.
func TestResumesElsewhere(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		first, second := newCache(t, reprise.Options{}), newCache(t, reprise.Options{})
		external := newExternalCache(first)
		second.SetGetCallback(external.get)
		firstConfig, secondConfig := serverConfig(t), serverConfig(t)
		attach(t, firstConfig, first)
		attach(t, secondConfig, second)

		c := newClient(t, version)
		c.expect(serve(t, firstConfig), false)
		c.expect(serve(t, secondConfig), true)
		if second.Stats().CallbackHits != 1 {
			t.Error("the session was not found in the external cache")
		}
		// The ticket of TLS 1.2 is sent before the client's Finished is read, that of TLS 1.3 after its binder.
		want := map[uint16]int{tls.VersionTLS12: 1, tls.VersionTLS13: 0}[version]
		if got := second.Stats().Unconfirmed; got != want {
			t.Errorf("%d sessions are unconfirmed, want %d", got, want)
		}
	})
}

func TestAttachRefuses(t *testing.T) {
	clientAuth := serverConfig(t)
	clientAuth.ClientAuth = tls.RequestClientCert
	attached := serverConfig(t)
	attach(t, attached, newCache(t, reprise.Options{}))

	for _, test := range []struct {
		name   string
		config *tls.Config
		says   string
	}{
		{"nil", nil, "needs a tls.Config"},
		{"attached", attached, "attached to a session cache already"},
		{"clone of an attached one", attached.Clone(), "attached to a session cache already"},
		{"WrapSession", &tls.Config{
			Certificates: serverConfig(t).Certificates,
			WrapSession:  (&tls.Config{}).EncryptTicket,
		}, "WrapSession"},
		{"UnwrapSession", &tls.Config{
			Certificates:  serverConfig(t).Certificates,
			UnwrapSession: (&tls.Config{}).DecryptTicket,
		}, "UnwrapSession"},
		{"tickets disabled", &tls.Config{
			Certificates:           serverConfig(t).Certificates,
			SessionTicketsDisabled: true,
		}, "SessionTicketsDisabled"},
		{"no certificate", &tls.Config{}, "no certificate"},
		{"client certificates without context", clientAuth, "session ID context"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := stdtls.Attach(test.config, newCache(t, reprise.Options{}))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("Attach returned %v, want an error that says %q", err, test.says)
			}
		})
	}
	if err := stdtls.Attach(clientAuth, newCache(t, reprise.Options{})); !errors.Is(err, reprise.ErrContextRequired) {
		t.Errorf("%v is not ErrContextRequired", err)
	}
	if err := stdtls.Attach(serverConfig(t), nil); err == nil {
		t.Error("Attach took a nil cache")
	}
	if clientAuth.GetConfigForClient != nil {
		t.Error("a config that was refused was changed")
	}
}

func TestGetConfigForClientIsCalledOnce(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		config := serverConfig(t)
		var calls atomic.Int32
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			calls.Add(1)
			return nil, nil
		}
		config.CurvePreferences = []tls.CurveID{tls.CurveP384} // a HelloRetryRequest, in TLS 1.3
		attach(t, config, newCache(t, reprise.Options{}))
		addr := serve(t, config)

		c := newClient(t, version)
		c.expect(addr, false)
		c.expect(addr, true)
		if n := calls.Load(); n != 2 {
			t.Errorf("2 connections made %d calls", n)
		}
	})
}

// TestGetConfigForClientDecides: what the application's own function returns is served, and its sessions stay in their
// scope.
func TestGetConfigForClientDecides(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		config := serverConfig(t)
		own := serverConfig(t)
		own.NextProtos = []string{"own"}
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
		attach(t, config, newCache(t, reprise.Options{}))
		addr := serve(t, config)

		c := newClient(t, version)
		c.config.NextProtos = []string{"own"}
		c.expect(addr, false)
		if state := c.dial(addr); !state.DidResume || state.NegotiatedProtocol != "own" {
			t.Errorf("DidResume = %v, protocol %q", state.DidResume, state.NegotiatedProtocol)
		}
		if own.WrapSession != nil || own.UnwrapSession != nil || own.GetConfigForClient != nil {
			t.Error("the application's configuration was changed")
		}
	})
}

func TestGetConfigForClientFails(t *testing.T) {
	config := serverConfig(t)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
	attach(t, config, newCache(t, reprise.Options{}))
	if _, err := newClient(t, tls.VersionTLS13).try(serve(t, config)); err == nil {
		t.Error("the error of GetConfigForClient was ignored")
	}
}

// TestGetConfigForClientReturnsAnUnsafeConfig: such connections are served without sessions, and that is logged once.
func TestGetConfigForClientReturnsAnUnsafeConfig(t *testing.T) {
	hooks := serverConfig(t)
	hooks.WrapSession, hooks.UnwrapSession = hooks.EncryptTicket, hooks.DecryptTicket
	noContext := serverConfig(t)
	noContext.ClientAuth = tls.RequestClientCert
	disabled := serverConfig(t)
	disabled.SessionTicketsDisabled = true

	for _, test := range []struct {
		name   string
		config *tls.Config
		says   string
	}{
		{"own hooks", hooks, "session hooks of its own"},
		{"client certificates without context", noContext, "session ID context"},
		{"tickets disabled", disabled, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				var log bytes.Buffer
				cache := newCache(t, reprise.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				config := serverConfig(t)
				config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return test.config, nil }
				attach(t, config, cache)
				addr := serve(t, config)

				c := newClient(t, version)
				for range 3 {
					c.expect(addr, false)
				}
				if len(c.sessions.tickets) != 0 {
					t.Error("the client got a ticket")
				}
				if st := cache.Stats(); st.Accept != 0 || st.AcceptGood != 0 {
					t.Errorf("connections without sessions were counted: %+v", st)
				}
				lines := strings.Count(log.String(), "\n")
				if test.says == "" && lines != 0 || test.says != "" && (lines != 1 || !strings.Contains(log.String(), test.says)) {
					t.Errorf("logged %q, want one line that says %q", log.String(), test.says)
				}
			})
		})
	}
}

// TestCloneIsAttached: net/http and grpc-go clone the configuration that they are given.
func TestCloneIsAttached(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		config := serverConfig(t)
		attach(t, config, newCache(t, reprise.Options{}))
		first, second := serve(t, config.Clone()), serve(t, config.Clone())
		c := newClient(t, version)
		c.expect(first, false)
		c.expect(second, true)
	})
}

// TestTicketKeysHaveNoEffect: a ticket that crypto/tls itself has made is not accepted, and none is made.
func TestTicketKeysHaveNoEffect(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		keys := [][32]byte{{1, 2, 3}}
		stateless := serverConfig(t)
		stateless.SetSessionTicketKeys(keys)
		c := newClient(t, version)
		c.expect(serve(t, stateless), false)
		if len(c.sessions.last()) <= 32 {
			t.Fatal("crypto/tls's own ticket is of 32 bytes")
		}

		config := serverConfig(t)
		config.SetSessionTicketKeys(keys)
		cache := newCache(t, reprise.Options{})
		attach(t, config, cache)
		addr := serve(t, config)
		c.expect(addr, false)
		expectOutcome(t, cache, reprise.Unknown, 1)
		c.expect(addr, true)
		if n := len(c.sessions.last()); n != 32 {
			t.Errorf("a ticket of %d bytes, want 32", n)
		}
	})
}

// TestClosedCacheServesInFull: connections outlive the cache, and that is nothing to warn of.
func TestClosedCacheServesInFull(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		var log bytes.Buffer
		cache := newCache(t, reprise.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		config := serverConfig(t)
		attach(t, config, cache)
		addr := serve(t, config)
		c := newClient(t, version)
		c.expect(addr, false)
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
		c.expect(addr, false)
		if log.Len() != 0 {
			t.Errorf("logged %q", log.String())
		}
	})
}
