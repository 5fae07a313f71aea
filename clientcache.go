package reprise

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/reprise-tls/reprise/internal/tlsstate"
)

// A ClientCache is a [tls.ClientSessionCache] over a [Cache] in [ModeClient]: the sessions of clients lie in its
// internal cache and, by its callbacks, in its external cache. A command that runs for a moment resumes what an earlier run has
// stored.
//
// It serves one kind of connection: to one address, with the roots, the ALPN protocols and the client certificates of
// one configuration. Sessions never serve another kind. A TLS 1.3 ticket is taken when it is used, so that nobody can
// link two connections by it (RFC 8446, appendix C.4); a TLS 1.2 session is used again.
//
// Session IDs are derived from the cache's fleet key; give the cache keys that were read from a file of the user's,
// and records that it stores are sealed under them. A ClientCache may be used from many goroutines at once.
type ClientCache struct {
	cache *Cache
	kind  [sha256.Size]byte

	mu      sync.Mutex
	next    int      // slot of the next TLS 1.3 session
	offered *Session // the TLS 1.2 session that Get returned last
}

// clientSlots is how many TLS 1.3 sessions a ClientCache keeps; one TLS 1.2 session lies in the slot behind them.
const clientSlots = 4

// NewClientCache makes a session cache for connections to addr (host and port) with config, to be set as config's
// ClientSessionCache. It returns an error if config has something that a resumed connection would not go
// by: a VerifyPeerCertificate (use VerifyConnection, which crypto/tls also calls when it resumes) or a GetClientCertificate.
func NewClientCache(cache *Cache, addr string, config *tls.Config) (*ClientCache, error) {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reprise: address of the server: %w", err)
	case cache.Mode()&ModeClient == 0:
		return nil, errors.New("reprise: the cache's mode lacks ModeClient")
	case config.VerifyPeerCertificate != nil:
		return nil, errors.New("reprise: VerifyPeerCertificate is not called for a resumed connection; use VerifyConnection")
	case config.GetClientCertificate != nil:
		return nil, errors.New("reprise: sessions can't be kept apart by the certificates of GetClientCertificate; use Certificates")
	}
	return &ClientCache{cache: cache, kind: clientKind(host, port, config)}, nil
}

// clientKind digests what connections must have in common to share sessions.
func clientKind(host, port string, config *tls.Config) [sha256.Size]byte {
	var protocols, certificates [][]byte
	for _, protocol := range config.NextProtos {
		protocols = append(protocols, []byte(protocol))
	}
	for _, certificate := range config.Certificates {
		certificates = append(certificates, certificate.Certificate...)
	}
	d := newDigest("reprise client 1")
	d.part([]byte(strings.ToLower(host)))
	d.part([]byte(port))
	d.part([]byte(canonicalServerName(config.ServerName)))
	d.part(fmt.Append(nil, config.InsecureSkipVerify, config.RootCAs == nil))
	d.parts(sortedSubjects(config.RootCAs))
	d.parts(protocols)
	d.parts(certificates)
	return d.sum()
}

// Get implements [tls.ClientSessionCache]. The key is not needed: a ClientCache serves one kind of connection.
func (c *ClientCache) Get(string) (*tls.ClientSessionState, bool) {
	c.cache.counters.connect.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), c.cache.options.LookupTimeout)
	defer cancel()
	external := func(time.Time) context.Context { return ctx }
	for n := range clientSlots + 1 {
		f, reason := c.cache.find(c.id(n), external, nil)
		if reason != Resumed {
			continue
		}
		if c.cache.now() > f.session.expiry() {
			c.cache.expired(f)
			continue
		}
		if f.session.SingleUse() && c.cache.take(f, func() context.Context { return ctx }) != Resumed {
			continue
		}
		if state, err := clientState(f.session); err == nil {
			c.offer(f.session)
			return state, true
		}
	}
	return nil, false
}

// offer counts a session that is handed out, and remembers one that would be handed out again.
func (c *ClientCache) offer(s *Session) {
	c.cache.counters.hits.Add(1)
	if s.SingleUse() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offered = s
}

// Put implements [tls.ClientSessionCache]. A nil state removes the TLS 1.2 session; those of TLS 1.3 are gone when they
// were used.
func (c *ClientCache) Put(_ string, state *tls.ClientSessionState) {
	if state == nil {
		c.removeOffered()
		return
	}
	if c.cache.Mode()&ModeClient == 0 {
		return
	}
	if s, err := c.session(state); err == nil {
		c.cache.announce(s, confirmed)
	}
}

// removeOffered removes the TLS 1.2 session, also if it is in the external cache alone.
func (c *ClientCache) removeOffered() {
	s := c.cache.Lookup(c.id(clientSlots))
	c.mu.Lock()
	if s == nil {
		s = c.offered
	}
	c.offered = nil
	c.mu.Unlock()
	if s != nil {
		c.cache.Remove(s)
	}
}

// id returns the ID of the session in slot n: the kind of connection and the slot under a key of the client's, tagged as every
// ID is.
func (c *ClientCache) id(n int) SessionID {
	key := c.cache.Keys().current(c.cache.options.Now())
	sum := key.client.sum(c.kind[:], []byte{byte(n)})
	id := SessionID{length: MaxSessionIDLength}
	copy(id.bytes[:sessionIDRandom], sum[:])
	key.tag(&id)
	return id
}

// session makes a session of what crypto/tls has got from the server.
func (c *ClientCache) session(state *tls.ClientSessionState) (*Session, error) {
	ticket, resumption, err := state.ResumptionState()
	if err != nil {
		return nil, err
	}
	encoded, err := resumption.Bytes()
	if err != nil {
		return nil, err
	}
	parsed, err := tlsstate.Parse(encoded)
	if err != nil {
		return nil, err
	}
	now := c.cache.options.Now()
	p := SessionParams{
		ID:          c.id(clientSlots),
		Version:     parsed.Version,
		CipherSuite: parsed.CipherSuite,
		Created:     now,
		Timeout:     c.cache.Timeout(),
		Opaque:      encodeClientState(ticket, encoded),
	}
	if parsed.Version == tls.VersionTLS13 {
		p.ID = c.id(c.nextSlot())
		p.SingleUse = true
		p.Timeout = time.Unix(int64(parsed.UseBy), 0).Sub(now)
	}
	return NewSession(p)
}

// nextSlot goes round the slots of TLS 1.3, so that the newest tickets stay.
func (c *ClientCache) nextSlot() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := c.next
	c.next = (c.next + 1) % clientSlots
	return slot
}

// The engine state of a client's session, in the language of RFC 8446, section 3:
//
//	struct {
//	    uint8 revision = 1;
//	    opaque ticket<0..2^16-1>;
//	    opaque session_state<0..2^24-1>;    /* tls.SessionState.Bytes */
//	} ClientState;
const clientStateRevision = 1

func encodeClientState(ticket, state []byte) []byte {
	b := make([]byte, 0, 6+len(ticket)+len(state))
	b = append(b, clientStateRevision)
	b = binary.BigEndian.AppendUint16(b, uint16(len(ticket)))
	b = append(b, ticket...)
	b = append(b, byte(len(state)>>16), byte(len(state)>>8), byte(len(state)))
	return append(b, state...)
}

func clientState(s *Session) (*tls.ClientSessionState, error) {
	r := reader{String: s.Opaque()}
	revision := r.uint8()
	ticket := r.bytes16()
	encoded := r.bytes24()
	if r.failed || !r.Empty() || revision != clientStateRevision {
		return nil, fmt.Errorf("%w: state of a client", errMalformed)
	}
	state, err := tls.ParseSessionState(encoded)
	if err != nil {
		return nil, err
	}
	return tls.NewResumptionState(ticket, state)
}
