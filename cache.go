package reprise

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Defaults of a [Cache].
const (
	// DefaultSize is how many sessions the internal cache holds (SSL_SESSION_CACHE_MAX_SIZE_DEFAULT).
	DefaultSize = 20480
	// DefaultLookupTimeout is how long all lookups of one handshake may take together.
	DefaultLookupTimeout = 50 * time.Millisecond
	// DefaultUnconfirmedPerSource is how many sessions a minute one source address may make without having proved
	// itself.
	DefaultUnconfirmedPerSource = 600
)

// A Cache is the session part of an SSL_CTX: an internal cache of sessions, and callbacks that keep an external cache
// in step with it. It is made by [New] and may be used from many goroutines at once.
type Cache struct {
	options   Options
	keys      atomic.Pointer[FleetKeys]
	mode      atomic.Uint32
	timeout   atomic.Int64
	context   atomic.Pointer[string]
	callbacks atomic.Pointer[callbacks]
	internal  *internalCache
	sources   sources
	chains    chainVerifier
	lastScope atomic.Pointer[knownScope]
	reserved  reservations

	revocations atomic.Pointer[revocationLog] // nil if no store keeps any
	counters    counters
	logger      *slog.Logger
}

// Options are the settings of a [Cache] that do not change. The zero value is usable.
type Options struct {
	// Keys are the fleet keys that session IDs and sealed records are made under. nil means a random key that is
	// gone with the process.
	Keys *FleetKeys
	// Context is the session ID context, at most [MaxContextLength] bytes: sessions of one context never resume in
	// another. It must be set where client certificates are asked for (SSL_CTX_set_session_id_context(3)).
	Context []byte
	// SingleUse makes every session for single use: it is taken when it is resumed.
	SingleUse bool
	// Unclean says after which ends of a connection its session is removed. The zero value is OpenSSL's rule.
	Unclean Unclean
	// LookupTimeout is how long the lookups of one handshake, and a take, may delay it together, whatever the client
	// offers. 0 means [DefaultLookupTimeout].
	LookupTimeout time.Duration
	// UnconfirmedPerSource is how many sessions a minute the cache keeps and announces for one source address (IPv6: one
	// /64) while its clients have proved nothing: crypto/tls makes TLS 1.3 sessions that early. 0 means
	// [DefaultUnconfirmedPerSource], a negative number no bound. A listener that completes handshakes first, as
	// package listen does, makes no such sessions.
	UnconfirmedPerSource int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger gets reports of callbacks that panicked and the like; nil means slog.Default(). No secret and no session ID is
	// ever logged.
	Logger *slog.Logger
}

// New makes a cache in [ModeServer] with [DefaultSize] and [DefaultTimeout].
func New(o Options) (*Cache, error) {
	if err := checkContext(o.Context); err != nil {
		return nil, err
	}
	if o.Keys == nil {
		o.Keys = RandomFleetKeys()
		o.Keys.private = true
	}
	if err := o.Keys.check(); err != nil {
		return nil, err
	}
	if o.LookupTimeout <= 0 {
		o.LookupTimeout = DefaultLookupTimeout
	}
	if o.UnconfirmedPerSource == 0 {
		o.UnconfirmedPerSource = DefaultUnconfirmedPerSource
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // this is the clock of the cache
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Cache{options: o, internal: newInternalCache(DefaultSize), logger: o.Logger}
	c.keys.Store(o.Keys)
	c.mode.Store(uint32(ModeServer))
	c.timeout.Store(int64(DefaultTimeout))
	c.callbacks.Store(&callbacks{})
	context := string(o.Context)
	c.context.Store(&context)
	return c, nil
}

func (c *Cache) now() milliseconds { return toMilliseconds(c.options.Now()) }

// Logger returns the logger of [Options]. The engines report through it.
func (c *Cache) Logger() *slog.Logger { return c.logger }

// ErrClosed is returned by operations on a cache that was closed.
var ErrClosed = errors.New("reprise: cache closed")

// Mode returns the mode bits.
func (c *Cache) Mode() Mode { return Mode(c.mode.Load()) }

// SetMode replaces the mode bits and returns the old ones (SSL_CTX_set_session_cache_mode(3)).
func (c *Cache) SetMode(m Mode) (old Mode) { return Mode(c.mode.Swap(uint32(m))) }

// Size returns how many sessions the internal cache may hold, 0 if there is no limit.
func (c *Cache) Size() int {
	return int(c.internal.limit.Load())
}

// SetSize sets how many sessions the internal cache may hold and returns the old size; 0 means no limit
// (SSL_CTX_sess_set_cache_size(3)). Sessions over a lowered size are evicted at the next entry. A negative size
// changes nothing.
func (c *Cache) SetSize(n int) (old int) {
	if n < 0 {
		return c.Size()
	}
	return int(c.internal.limit.Swap(int64(n)))
}

// Timeout returns how long new sessions may be resumed.
func (c *Cache) Timeout() time.Duration { return time.Duration(c.timeout.Load()) }

// SetTimeout sets how long new sessions may be resumed and returns the old value (SSL_CTX_set_timeout(3)); 0 or less
// means [DefaultTimeout]. Sessions there are keep theirs.
func (c *Cache) SetTimeout(d time.Duration) (old time.Duration) {
	if d <= 0 {
		d = DefaultTimeout
	}
	return time.Duration(c.timeout.Swap(int64(d)))
}

// Context returns the session ID context.
func (c *Cache) Context() []byte {
	return []byte(*c.context.Load())
}

// SetContext sets the session ID context for connections that begin from now on
// (SSL_CTX_set_session_id_context(3)). It returns an error if it is longer than [MaxContextLength].
func (c *Cache) SetContext(context []byte) error {
	if err := checkContext(context); err != nil {
		return err
	}
	s := string(context)
	c.context.Store(&s)
	return nil
}

func checkContext(context []byte) error {
	if len(context) > MaxContextLength {
		return fmt.Errorf("reprise: session ID context of %d bytes, at most %d are allowed", len(context), MaxContextLength)
	}
	return nil
}

// Keys returns the fleet keys.
func (c *Cache) Keys() *FleetKeys { return c.keys.Load() }

// SetKeys replaces the fleet keys, after a rotation. Keep the previous ones in it as long as their sessions live: the
// sessions of a key that is left out, as a stolen one is, are removed from the internal cache as [RemovedRevoked]. It
// returns an error, and changes nothing, if k has no key.
func (c *Cache) SetKeys(k *FleetKeys) error {
	if err := k.check(); err != nil {
		return err
	}
	gone := c.keys.Swap(k).without(k)
	if len(gone.keys) == 0 {
		return nil
	}
	c.All(func(s *Session) bool {
		if gone.keyOf(s.id) != nil || isUnderAnyKey(k, s.id) {
			c.RemoveWith(s, RemovedRevoked)
		}
		return true
	})
	return nil
}

// isUnderAnyKey reports whether no fleet key has made the ID of a session, whose record may then be sealed under each of those there were.
func isUnderAnyKey(k *FleetKeys, id SessionID) bool {
	return id.length >= minGeneratedID && k.keyOf(id) == nil
}

// Handle returns a name for a session that is safe to show: the first 12 hex digits of its store key. It says nothing
// about the ID, and is the same on every node that has the fleet key.
func (c *Cache) Handle(id SessionID) string {
	key := c.Keys().handleKey(id, c.options.Now()).storeKey(id)
	return hex.EncodeToString(key[:6])
}

// Add puts a session into the internal cache as [SSL_CTX_add_session(3)] does, without calling the new callback, and
// whatever the mode is. If the very same session is there, nothing happens; if another one of its ID is, that is removed as
// [RemovedReplaced]. Add returns [ErrClosed] after Close, and an error for a zero Session.
//
// [SSL_CTX_add_session(3)]: https://docs.openssl.org/3.0/man3/SSL_CTX_add_session/
func (c *Cache) Add(s *Session) error {
	if s.id.IsZero() {
		return errors.New("reprise: session without ID")
	}
	if there := c.Lookup(s.id); there != nil && there.equal(s) {
		return nil
	}
	_, err := c.enter(s, confirmed, false)
	return err
}

// enter puts a session into a part of the internal cache, after it has made room. That of another one of its ID is the first to be had,
// unless the ID is fresh.
func (c *Cache) enter(s *Session, p part, announce bool) (*announcement, error) {
	if s.madeUnder == nil {
		if old, _ := c.internal.remove(&s.id, RemovedReplaced); old != nil {
			c.callRemove(old, RemovedReplaced, true)
		}
	}
	if c.internal.closed.Load() {
		return nil, ErrClosed
	}
	if c.internal.reserve(p, c.evicted) {
		e := c.internal.enter(s, p, announce)
		if e.replaced != nil { // somebody else has added it since
			c.callRemove(e.replaced, RemovedReplaced, true)
		}
		if e.entered {
			return e.announcement, nil
		}
	}
	if c.internal.closed.Load() {
		return nil, ErrClosed
	}
	c.counters.noRoom.Add(1)
	return nil, ErrNoRoom
}

// ErrNoRoom is returned by [Cache.Add] if the internal cache has no room for the session's client chain and other parts of
// variable length, of which it holds 4096 bytes a session on average. Handshakes go on; what they make is announced, and not kept.
var ErrNoRoom = errors.New("reprise: no room in the internal cache")

// adopt puts a session that the get callback returned into the internal cache, unless it was removed since.
func (c *Cache) adopt(s *Session, p part, since moment) {
	if c.internal.closed.Load() || c.internal.contains(&s.id) { // else another one would be evicted for nothing
		return
	}
	if c.internal.reserve(p, c.evicted) && c.internal.adopt(s, p, since) {
		c.counters.adopted.Add(1)
	}
}

func (c *Cache) evicted(s *Session) {
	if s != nil {
		c.callRemove(s, RemovedEvicted, true)
	}
	c.counters.cacheFull.Add(1)
}

// announce calls the new callback for a session and keeps it in the internal cache, as far as the mode allows.
func (c *Cache) announce(s *Session, p part) {
	var a *announcement
	if c.Mode()&ModeNoInternalStore == 0 {
		var err error
		if a, err = c.enter(s, p, true); errors.Is(err, ErrClosed) {
			return
		}
	}
	keep := true
	if a != nil {
		defer func() { c.settle(s, a, keep) }() // also if the callback ends the goroutine
	}
	keep = c.callNew(s)
}

// settle ends the announcement of a session, which may have been removed meanwhile.
func (c *Cache) settle(s *Session, a *announcement, keep bool) {
	removed, why := c.internal.settle(a, keep)
	switch {
	case removed && keep:
		c.callRemove(s, why, true)
	case removed && why.Final():
		c.callRemove(s, why, false)
	}
}

// Remove removes the session from the internal cache and, by the remove callback, from the external one
// (SSL_CTX_remove_session(3)). The callback is called whether or not the session was resident. Remove reports
// whether it was. A lookup that is under way does not bring it back.
func (c *Cache) Remove(s *Session) (wasResident bool) {
	return c.RemoveWith(s, RemovedExplicitly)
}

// RemoveWith is [Cache.Remove] with another reason than [RemovedExplicitly].
func (c *Cache) RemoveWith(s *Session, why Removal) (wasResident bool) {
	old, resident := c.internal.remove(&s.id, why)
	switch {
	case old != nil:
		c.callRemove(old, why, true)
	case !resident && why.Final():
		c.callRemove(s, why, false)
	}
	return resident
}

// Forget removes the session id from the internal cache because another node removed it: the remove callback is called with
// [RemovedElsewhere] if it was resident.
func (c *Cache) Forget(id SessionID) (wasResident bool) {
	old, resident := c.internal.remove(&id, RemovedElsewhere)
	if old != nil {
		c.callRemove(old, RemovedElsewhere, true)
	}
	return resident
}

// Flush removes the sessions that expire before t, the first to expire first (SSL_CTX_flush_sessions(3)): as
// [RemovedExpired] if they have expired, else as [RemovedFlushed]. The zero time flushes all.
func (c *Cache) Flush(t time.Time) {
	before := noExpiry
	if !t.IsZero() {
		before = toMilliseconds(t)
	}
	now := c.now()
	c.flush(min(before, now), RemovedExpired)
	c.flush(before, RemovedFlushed)
}

// flush removes the sessions that expire before the given time. It ends even if others enter as fast as it removes.
func (c *Cache) flush(before milliseconds, why Removal) {
	for range c.internal.total.Load() {
		s, removed := c.internal.removeFirst(confirmed, before, why)
		if !removed {
			return
		}
		if s != nil {
			c.callRemove(s, why, true)
		}
	}
}

// Lookup returns the session id of the internal cache, or nil. It asks no callback, checks nothing and counts nothing.
func (c *Cache) Lookup(id SessionID) *Session {
	s := new(Session)
	if !c.internal.load(&id, s) {
		return nil
	}
	return s
}

// LookupInto is [Cache.Lookup] into memory of the caller, without allocating. It reports whether the session was found; if it
// was not, dst may have lost what it held. dst must not be shared with anyone who takes sessions for immutable.
func (c *Cache) LookupInto(id SessionID, dst *Session) bool {
	return c.internal.load(&id, dst)
}

// All calls f for each session of the internal cache, in no particular order, until f returns false. Sessions that enter or
// leave meanwhile may or may not be seen. f may call the cache.
func (c *Cache) All(f func(*Session) bool) {
	c.internal.all(f)
}

// Close removes every session, with [RemovedClosed], the first to expire first (SSL_CTX_free(3)). Afterwards nothing enters the
// cache; handshakes go on in full. An external cache keeps its records. Close may be called more than once.
func (c *Cache) Close() error {
	c.internal.close()
	for {
		s, removed := c.internal.removeFirst(confirmed, noExpiry, RemovedClosed)
		if !removed {
			return nil
		}
		if s != nil {
			c.callRemove(s, RemovedClosed, true)
		}
	}
}
