package stdtls_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
)

// TestOpaqueWhereTheEncodingIsNotKnown: with a release of crypto/tls that encodes sessions in another way, they still
// resume in crypto/tls.
func TestOpaqueWhereTheEncodingIsNotKnown(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		clients := newChainOf3(t, time.Time{})
		cache := mutualCache(t)
		external := newExternalCache(cache)
		config := mutualConfig(t, clients.root.Pool())
		attach(t, config, cache)
		addr := serve(t, config)
		neutral, opaque := newClient(t, version), newClient(t, version)
		neutral.config.Certificates = []tls.Certificate{clients.certificate}
		opaque.config.Certificates = []tls.Certificate{clients.certificate}
		neutral.expect(addr, false)

		stdtls.SetConvertible(t, false)
		opaque.expect(addr, false)
		opaque.expect(addr, true)
		for _, ticket := range opaque.sessions.tickets {
			s := external.sessions[string(ticket)]
			if len(s.Opaque()) == 0 || len(s.Secret()) != 0 {
				t.Error("the session is not opaque")
			}
			if s.ExtendedMasterSecret() != (version == tls.VersionTLS12) {
				t.Errorf("extended master secret: %v", s.ExtendedMasterSecret())
			}
		}
		neutral.expect(addr, false) // what the neutral form says can't be told to crypto/tls
		expectOutcome(t, cache, reprise.Refused, 1)
		neutral.expect(addr, true)
	})
}

func TestAttachTellsThatTheEncodingIsNotKnown(t *testing.T) {
	for _, known := range []bool{true, false} {
		stdtls.SetConvertible(t, known)
		var log bytes.Buffer
		cache := newCache(t, reprise.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		attach(t, serverConfig(t), cache)
		if warned := strings.Contains(log.String(), "not known"); warned == known {
			t.Errorf("known %v: logged %q", known, log.String())
		}
	}
}
