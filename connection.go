package reprise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A Connection is what the cache knows of one server connection, from its ClientHello to its end. A TLS engine drives it:
//
//	conn, err := cache.Accept(ctx, info)      // ClientHello read, configuration chosen
//	conn.Expect(ids)                          // if it is known what will be looked for
//	s, reason := conn.Lookup(id, offer)       // for each ID offered, until one is found
//	reason = conn.Reserve(s)                  // the engine resumes s before the peer has proved itself
//	reason = conn.Take(s)                     // the peer has proved itself, or the engine can't wait for that
//	conn.Resumed(s)                           // the engine resumes s
//	s, err = conn.NewSession(params)          // for each session ID or ticket to send
//	conn.Complete(true)                       // the peer's Finished is verified
//	conn.End(ending)                          // the connection is closed
//
// If the handshake fails, it calls Release instead of the last two.
//
// Nothing that the peer does before Complete removes a session that can still resume, but for Take. The methods may be called from different
// goroutines; those of the handshake one after the other.
type Connection struct {
	cache      *Cache
	info       ConnectionInfo
	serverName string
	scope      Scope
	parent     context.Context
	began      time.Time
	captured   revocationCount // when it began
	keys       *FleetKeys      // when it began

	// For the goroutine of the handshake alone.
	deadline   time.Time       // of all calls to the external cache; it begins to run with the first
	external   context.Context // with that deadline
	cancel     context.CancelFunc
	lookups    int
	reserved   *Session
	expected   []SessionID // by Lookup
	prefetches []*prefetch

	mu       sync.Mutex // never held while a callback runs
	reason   Reason
	found    found // what the last successful Lookup found
	resumed  bool  // the engine resumes it
	last     *Session
	pending  []*Session // made, not announced yet
	complete bool
	ended    bool
}

// ConnectionInfo is what the cache must know of a connection's configuration, as finally chosen for it.
type ConnectionInfo struct {
	// Transport is TCP or QUIC.
	Transport Transport
	// ServerName is the name that the client asked for, in any spelling; empty if none.
	ServerName string
	// Context, if not nil, is the session ID context instead of the cache's.
	Context []byte
	// ClientAuth is the policy for client certificates.
	ClientAuth tls.ClientAuthType
	// ClientCAs are the roots that client certificates are verified against. nil means the system's.
	ClientCAs *x509.CertPool
	// VerifyPeerCertificate, if not nil, must accept the client chain of a session before it is resumed, as
	// in [tls.Config]. [Connection.Lookup] calls it, when the peer has not proved yet that it has the session: it must
	// not take the client for present.
	VerifyPeerCertificate func(rawCerts [][]byte, verifiedChains [][]*x509.Certificate) error
	// CertificateTime is the time that certificates are verified at; nil means the cache's clock.
	CertificateTime func() time.Time
	// RemoteAddr is the client's address; nil if not known.
	RemoteAddr net.Addr
}

// ErrContextRequired is returned by [Cache.Accept] if client certificates are asked for and there is no session ID
// context. Without one, a session could carry a client's identity where it was never meant to.
var ErrContextRequired = errors.New("reprise: client certificates need a session ID context; set Options.Context")

// Accept begins a server connection. The deadline of its lookups begins when the external cache is first asked; they end
// with ctx at the latest. An error means that the connection must go on without resumption and without sessions.
func (c *Cache) Accept(ctx context.Context, info ConnectionInfo) (*Connection, error) {
	if c.internal.closed.Load() {
		return nil, ErrClosed
	}
	sessionContext := *c.context.Load()
	if info.Context != nil {
		if err := checkContext(info.Context); err != nil {
			return nil, err
		}
		sessionContext = string(info.Context)
	}
	if info.ClientAuth != tls.NoClientCert && sessionContext == "" {
		return nil, ErrContextRequired
	}
	info.Context = []byte(sessionContext)
	n := &Connection{
		cache:      c,
		info:       info,
		serverName: canonicalServerName(info.ServerName),
		parent:     ctx,
		began:      c.options.Now(),
		captured:   c.revocations.Load().captured(),
		keys:       c.Keys(),
	}
	n.scope = c.scopeOf(&info, n.serverName)
	c.counters.accept.Add(1)
	return n, nil
}

// An Offer is what the ClientHello allows a session to be resumed with.
type Offer struct {
	// Version is the protocol version that was negotiated.
	Version uint16
	// CipherSuites are the suites that can be used. TLS 1.2: those that the client offers and the configuration
	// enables; the session's must be among them. TLS 1.3: the one that was negotiated; the session's must have the
	// same hash (RFC 8446, section 4.6.1).
	CipherSuites []uint16
	// ExtendedMasterSecret tells that the TLS 1.2 ClientHello has the extension (RFC 7627).
	ExtendedMasterSecret bool
	// MayBeRandom tells that the client may have made up the ID: clients of TLS 1.3 send a random session ID (RFC 8446, appendix
	// D.4), and so may clients that take tickets and have none (RFC 5077, section 3.4). If nothing is found under such an ID and no
	// fleet key has made it, nothing was offered.
	MayBeRandom bool
}

// Lookup looks for the session id, in the internal cache and then by the get callback, and decides whether it may be
// resumed. It returns the session and [Resumed] if so; else nil and why not. At most [MaxLookups] IDs of one
// connection are looked up, the rest are [Unknown].
//
// With [ExtendedMasterSecret] it may return a session too: the ClientHello lacks the extension that the session was
// made with, and the engine must abort the handshake (RFC 7627, section 5.3).
func (n *Connection) Lookup(id []byte, offer Offer) (*Session, Reason) {
	if len(id) == 0 {
		return nil, n.Reason()
	}
	sessionID, err := MakeSessionID(id)
	f, reason := found{}, Unknown
	ahead := n.prefetched(sessionID)
	if ahead == nil {
		n.lookups++
	}
	if err == nil && (ahead != nil || n.lookups <= MaxLookups) {
		f, reason = n.find(sessionID, offer.MayBeRandom, ahead)
	}
	if f.session != nil {
		reason, f.chains = n.decide(f.session, &offer, n.cache.now())
	}
	n.settle(f, reason)
	switch {
	case reason == Resumed:
		return f.session, Resumed
	case reason == Expired:
		n.cache.expired(f)
	case reason == Revoked:
		n.cache.RemoveWith(f.session, RemovedRevoked)
	case reason == ExtendedMasterSecret && f.session.ExtendedMasterSecret():
		return f.session, ExtendedMasterSecret
	}
	return nil, reason
}

// find looks for the session id, which the client may have made up. ahead is nil unless it was prefetched.
func (n *Connection) find(id SessionID, mayBeRandom bool, ahead *prefetch) (found, Reason) {
	external := func(endsBy time.Time) context.Context {
		n.askBehind(id)
		if mayBeRandom {
			return context.WithValue(n.lookupContext(), mayBeRandomKey{}, true)
		}
		return n.contextUntil(endsBy)
	}
	f, reason := n.cache.find(id, external, ahead)
	if reason != Unknown {
		return f, reason
	}
	switch isForeign := n.cache.isForeign(id); {
	case isForeign && mayBeRandom:
		reason = NotOffered
	case !isForeign && n.cache.options.SingleUse:
		reason = Used
	}
	return f, reason
}

// mayBeRandomKey is the key of a context: the ID that is asked for says nothing about other nodes' fleet keys.
type mayBeRandomKey struct{}

// settle notes how the lookup or the take of a session ended.
func (n *Connection) settle(f found, reason Reason) {
	if reason != Resumed {
		f = found{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.found, n.reason = f, reason
}

// lookupContext returns the context of all that this handshake asks of the external cache.
func (n *Connection) lookupContext() context.Context {
	if n.external == nil {
		n.startLookups()
		n.external, n.cancel = context.WithDeadline(n.parent, n.deadline)
	}
	return n.external
}

// contextUntil is lookupContext as a [contextFunc]. A call that ends with the lookups of the handshake needs no deadline of its own.
func (n *Connection) contextUntil(endsBy time.Time) context.Context {
	const asGoodAsEqual = time.Millisecond
	if n.external == nil && !endsBy.IsZero() && endsBy.Before(n.deadline.Add(asGoodAsEqual)) {
		return n.parent
	}
	return n.lookupContext()
}

// startLookups begins the time that the external cache has.
func (n *Connection) startLookups() {
	if n.deadline.IsZero() {
		n.deadline = time.Now().Add(n.cache.options.LookupTimeout) //nolint:forbidigo // of a call, not of a session
	}
}

// endLookups ends the time that the external cache has.
func (n *Connection) endLookups() {
	if n.cancel != nil {
		n.cancel()
	}
	n.deadline, n.external, n.cancel = time.Time{}, nil, nil
	n.expected, n.prefetches = nil, nil
}

// MaxLookups is how many session IDs of one connection are looked up at most, however many identities a ClientHello
// offers.
const MaxLookups = 5

// Take takes the session that Lookup returned if it is for single use: from this cache and, by the take callback, from
// the external one. It returns [Resumed] if the session may be resumed now, and why not otherwise. Sessions that may be used
// again are not touched. An engine calls it as late as it can, at best after the peer has proved that it has the secret. After
// [Connection.Reserve] it has the time of all lookups again. A session that another connection has reserved is [Used].
func (n *Connection) Take(s *Session) Reason {
	if n.found.session != s {
		return n.Reason()
	}
	if !s.SingleUse() {
		return Resumed
	}
	switch {
	case n.reserved != nil:
		n.endLookups()
	case n.cache.reserved.add(s.id):
		n.reserved = s
	default:
		n.settle(n.found, Used)
		return Used
	}
	defer n.unreserve()
	reason := n.cache.take(n.found, n.lookupContext)
	n.settle(n.found, reason)
	return reason
}

// Resumed tells that the engine resumes s. It takes effect with [Connection.Complete].
func (n *Connection) Resumed(s *Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resumed = n.found.session == s
}

// NewSession makes a session of this connection: with a new ID, the scope and server name of the connection, the cache's timeout
// unless p has one, and the lineage of the session that was resumed, or of this connection: that one began with Accept
// and ends with the earliest NotAfter in verifiedChains. It is kept and announced by [Connection.Complete].
//
// The fields of p that say so are set here; an ID only if p has none, which then is one of [Connection.NewID]. The session allows no
// early data, whatever p says, if the node may not accept any now ([Cache.MayAcceptEarlyData]). An error means that no session can be
// made; the handshake goes on without.
func (n *Connection) NewSession(p SessionParams, verifiedChains [][]*x509.Certificate) (*Session, error) {
	c := n.cache
	var err error
	var madeUnder *fleetKey
	if p.ID.IsZero() {
		if p.ID, madeUnder, err = n.newID(); err != nil {
			return nil, err
		}
	}
	p.Created = c.options.Now()
	p.Context = n.info.Context
	p.Scope = n.scope
	p.ServerName = n.serverName
	p.SingleUse = p.SingleUse || c.options.SingleUse
	if p.MaxEarlyData > 0 && !c.hasEarlyData(p.ID) {
		p.MaxEarlyData = 0
	}
	if p.Timeout == 0 {
		p.Timeout = c.Timeout()
	}
	if p.Lineage, p.captured, err = n.lineage(&p, verifiedChains); err != nil {
		return nil, err
	}
	if resumed := n.ResumedSession(); resumed != nil {
		p.former = resumed.profile
	}
	s, err := NewSession(p)
	if err != nil {
		return nil, err
	}
	s.madeUnder = madeUnder
	if madeUnder != nil && c.callbacks.Load().begin != nil { // the binding of a store will ask for it more than once
		s.storeKey = madeUnder.storeKey(s.id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = s
	n.pending = append(n.pending, s)
	return s, nil
}

// NewID makes an ID for a session that [Connection.NewSession] will be called for later: a TLS 1.2 server sends the session ID
// before there is a secret. An error means that no session can be made.
func (n *Connection) NewID() (SessionID, error) {
	id, _, err := n.newID()
	return id, err
}

func (n *Connection) newID() (id SessionID, madeUnder *fleetKey, err error) {
	if n.cache.Mode()&ModeServer == 0 {
		return id, nil, errNoCaching
	}
	return n.cache.newID()
}

// lineage returns the lineage of a new session, and what it has captured: that of the session resumed, or the one of this
// connection.
func (n *Connection) lineage(p *SessionParams, verifiedChains [][]*x509.Certificate) (l Lineage, captured revocationCount, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resumed {
		l = n.found.session.Lineage()
		l.Generation++
		return l, n.found.session.profile.captured, nil
	}
	l.Start = n.began
	if n.last != nil {
		l.ID = n.last.lineage.id
	}
	l.End, err = endOfTrust(verifiedChains, p.PeerCertificates)
	return l, n.captured, err
}

// errNoCaching: the mode lacks [ModeServer].
var errNoCaching = errors.New("reprise: the mode caches no server sessions")

// newID makes the ID of a new session, by the application's callback or under the current fleet key. Of those, no two are the same.
func (c *Cache) newID() (id SessionID, madeUnder *fleetKey, err error) {
	f := c.GenerateID()
	if f == nil {
		key := c.Keys().current(c.options.Now())
		return key.newID(), key, nil
	}
	const attempts = 10
	for range attempts {
		id, err := c.callGenerateID(f)
		if err != nil {
			return SessionID{}, nil, err
		}
		if !c.internal.contains(&id) {
			return id, nil, nil
		}
	}
	return SessionID{}, nil, fmt.Errorf("reprise: %d session IDs in a row were in use already", attempts)
}

// Complete tells that the handshake is complete. isConfirmed tells that the peer has proved itself: its Finished, its
// CertificateVerify or the binder of its PSK was verified. Then the resumption counts, and the sessions made are kept and announced by
// the new callback. Unconfirmed sessions are announced too, but lie in a part of the cache that can't push out confirmed
// ones, and are bounded for each source address.
//
// An engine that makes sessions later, such as tickets on demand, calls Complete again after them; only the first
// call counts the handshake.
func (n *Connection) Complete(isConfirmed bool) {
	first, pending := n.finish()
	f, resumed := n.found, n.resumed

	p := unconfirmed
	if isConfirmed {
		p = confirmed
	}
	if first && resumed {
		n.countResumption(f, p)
	}
	for _, s := range pending {
		if p == unconfirmed && !n.cache.sources.allow(n.info.RemoteAddr, n.cache.options.UnconfirmedPerSource, n.cache.now()) {
			n.cache.counters.notKept.Add(1)
			continue
		}
		n.cache.announce(s, p)
		n.checkKey(s)
	}
	if first {
		n.cache.countHandshake(n.Reason())
	}
}

// finish returns the sessions made since the last call, and whether this is the first; then it settles the outcome of
// what the client offered.
func (n *Connection) finish() (first bool, pending []*Session) {
	n.endLookups()
	n.mu.Lock()
	defer n.mu.Unlock()
	first, pending = !n.complete, n.pending
	n.complete, n.pending = true, nil
	if n.reason == Resumed && !n.resumed {
		n.reason = Refused
	}
	return first, pending
}

// countResumption counts the resumption of f, and keeps f if it came from the external cache.
func (n *Connection) countResumption(f found, p part) {
	c := n.cache
	c.counters.hits.Add(1)
	mode := c.Mode()
	if f.session.SingleUse() || mode&ModeServer == 0 {
		return
	}
	known := !f.external || c.internal.residents.areKnown() && c.internal.verified(f.session, f.since)
	if !known && mode&ModeNoInternalStore == 0 {
		c.adopt(f.session, p, f.since)
		n.checkKey(f.session)
	} else if p == confirmed {
		c.internal.confirm(&f.session.id)
	}
	if mode&ModeUpdateTime != 0 && p == confirmed { // else an observer of the ID could keep the session alive
		c.internal.touch(&f.session.id, c.now())
	}
}

// checkKey removes a session that has just entered the cache if its fleet key was left out since the connection began:
// [Cache.SetKeys] may have been done with those that were there.
func (n *Connection) checkKey(s *Session) {
	if now := n.cache.Keys(); now != n.keys && n.keys.without(now).keyOf(s.id) != nil {
		n.cache.RemoveWith(s, RemovedRevoked)
	}
}

// countHandshake counts a completed handshake, and every 255 of them flushes what has expired.
func (c *Cache) countHandshake(reason Reason) {
	c.counters.outcomes[reason].Add(1)
	if good := c.counters.acceptGood.Add(1); good%255 == 0 && c.Mode()&(ModeServer|ModeNoAutoClear) == ModeServer {
		c.flush(c.now(), RemovedExpired)
	}
}

// An Ending is how a connection ended, after its handshake.
type Ending struct {
	// CloseNotifySent and CloseNotifyReceived tell which sides closed the connection properly (RFC 8446, section 6.1).
	CloseNotifySent, CloseNotifyReceived bool
	// FatalAlert tells that a fatal alert was sent or received.
	FatalAlert bool
}

// Unclean is the rule by which the end of a connection removes its session. It judges connections whose handshake was
// completed.
type Unclean uint8

const (
	// UncleanOpenSSL: after a fatal alert, and if our side has not sent close_notify. What the peer sent does not
	// matter; many clients never send one. The default.
	UncleanOpenSSL Unclean = iota
	// UncleanNever: no end of a connection removes its session.
	UncleanNever
	// UncleanFatal: after a fatal alert only.
	UncleanFatal
	// UncleanStrict: after a fatal alert, and unless both sides have sent close_notify.
	UncleanStrict
)

// End tells how the connection ended. By the cache's [Unclean] rule it removes the connection's session: the last one
// made, or else the one resumed. Only the first call, after Complete, has an effect.
func (n *Connection) End(e Ending) {
	n.mu.Lock()
	judged := n.complete && !n.ended
	n.ended = true
	s := n.session()
	n.mu.Unlock()
	if !judged || s == nil {
		return
	}
	switch rule := n.cache.options.Unclean; {
	case rule == UncleanNever:
	case e.FatalAlert:
		n.cache.RemoveWith(s, RemovedFatalAlert)
	case rule == UncleanFatal:
	case !e.CloseNotifySent, rule == UncleanStrict && !e.CloseNotifyReceived:
		n.cache.RemoveWith(s, RemovedUnclean)
	}
}

// Session returns the connection's session: the last one made, or else the one resumed; nil if there is none.
func (n *Connection) Session() *Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.session()
}

func (n *Connection) session() *Session {
	if n.last == nil && n.resumed {
		return n.found.session
	}
	return n.last
}

// ResumedSession returns the session that the connection resumed, nil after a full handshake.
func (n *Connection) ResumedSession() *Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.resumed {
		return nil
	}
	return n.found.session
}

// Reason returns how the client's offer ended so far: [Resumed], [NotOffered] or why it was declined. If several were
// declined, it is the reason of the last.
func (n *Connection) Reason() Reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reason
}

// Cache returns the cache that the connection belongs to.
func (n *Connection) Cache() *Cache { return n.cache }

// VerifiedChains returns today's verified chains of a session's client certificate, which Lookup has verified; nil without.
func (n *Connection) VerifiedChains(s *Session) [][]*x509.Certificate {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.found.session != s {
		return nil
	}
	return n.found.chains
}

// Scope returns the scope of the connection.
func (n *Connection) Scope() Scope {
	return n.scope
}
