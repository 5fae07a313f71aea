package reprise

import (
	"context"
	"errors"
	"fmt"

	"github.com/reprise-tls/reprise/internal/stack"
)

// A NewCallback is called for every session that the cache has got from a handshake: the new_session_cb of
// SSL_CTX_sess_set_new_cb(3). It is called when the mode has the bit of the connection's side, once for each session; a
// connection can make several.
//
// It returns whether the session may stay in the internal cache. After false it is not kept there, and no remove
// callback follows for it; it still resumes if the get callback returns it.
//
// It runs on the goroutine of the handshake and delays it; no lock is held, and it may call the cache. The session is
// in the internal cache already. Its remove callback is never called before it has returned.
type NewCallback func(c *Cache, s *Session) (keep bool)

// A RemoveCallback is called when a session leaves the internal cache: the remove_session_cb of
// SSL_CTX_sess_set_remove_cb(3). Each residence of a session, from its entry to its removal, ends in exactly one
// call, [Cache.Close] included. It is also called, with resident false, when a session that is not there is removed
// for a reason that the external cache must hear of ([Removal.Final]).
//
// It runs on whichever goroutine removed the session; no lock is held, and it may call the cache.
type RemoveCallback func(c *Cache, s *Session, why Removal, resident bool)

// A GetCallback looks a session up in the external cache: the get_session_cb of SSL_CTX_sess_set_get_cb(3). It is called
// when the session is not found in the internal cache, whatever the mode. id is what the client proposed: any 1 to 32
// bytes, made here or not.
//
// It returns nil and no error if there is no such session. After an error the handshake goes on in full. ctx carries
// the deadline that all lookups of the handshake share.
//
// It runs on the goroutine of the handshake, or on one of its own if it is called ahead for the IDs of a
// ClientHello ([Connection.Expect]); no lock is held, and it may call the cache. When the handshake has ended, ctx is done.
type GetCallback func(ctx context.Context, id SessionID) (*Session, error)

// A TakeCallback takes a session for single use from the external cache: it deletes the session there and reports
// whether it was this call that did, in one atomic step. It has no counterpart in OpenSSL. Without it, single use
// holds within this cache only.
//
// Early data relies on it alone (RFC 8446, section 8): of all takers of a session, wherever they are, one wins, and a
// session that was taken stays taken, after a crash and a failover too.
//
// It is called after all checks were passed, with the deadline of the handshake, and on its goroutine. Unless it fails,
// the remove callback follows with [RemovedUsed], whether this call took the session or another one had; by then the
// external cache has nothing left to delete.
type TakeCallback func(ctx context.Context, s *Session) (taken bool, err error)

// A GenerateIDCallback makes the ID of a new session, of 1 to 32 bytes: the GEN_SESSION_CB of
// SSL_CTX_set_generate_session_id(3). An ID that is in the internal cache already is refused, and the callback called
// again, 10 times at most; then, and after an error, the connection goes on without a session.
type GenerateIDCallback func(c *Cache) (SessionID, error)

// callbacks is what the setters of a Cache set; it is replaced as a whole.
type callbacks struct {
	newSession NewCallback
	remove     RemoveCallback
	get        GetCallback
	take       TakeCallback
	promise    TakePromise // of take
	generateID GenerateIDCallback

	// Of the store that is bound.
	begin        func(SessionID, moment) pendingGet // begins a get, nil for a foreign ID; unset unless get is the binding's
	agreesOnTime func(SessionID) bool               // with the store's clock; nil: always
}

func (c *Cache) updateCallbacks(change func(*callbacks)) {
	for {
		old := c.callbacks.Load()
		changed := *old
		change(&changed)
		if c.callbacks.CompareAndSwap(old, &changed) {
			return
		}
	}
}

// SetNewCallback sets the new callback; nil unsets it. The setters may be called while the cache serves.
func (c *Cache) SetNewCallback(f NewCallback) {
	c.updateCallbacks(func(s *callbacks) { s.newSession = f })
}

// NewCallback returns the new callback, nil if none is set.
func (c *Cache) NewCallback() NewCallback { return c.callbacks.Load().newSession }

// SetRemoveCallback sets the remove callback; nil unsets it.
func (c *Cache) SetRemoveCallback(f RemoveCallback) {
	c.updateCallbacks(func(s *callbacks) { s.remove = f })
}

// RemoveCallback returns the remove callback, nil if none is set.
func (c *Cache) RemoveCallback() RemoveCallback { return c.callbacks.Load().remove }

// SetGetCallback sets the get callback; nil unsets it.
func (c *Cache) SetGetCallback(f GetCallback) {
	c.updateCallbacks(func(s *callbacks) { s.get, s.begin = f, nil })
}

// GetCallback returns the get callback, nil if none is set.
func (c *Cache) GetCallback() GetCallback { return c.callbacks.Load().get }

// SetTakeCallback sets the take callback; nil unsets it.
func (c *Cache) SetTakeCallback(f TakeCallback) {
	c.updateCallbacks(func(s *callbacks) {
		s.take = f
		s.promise = TakePromise{Atomic: f != nil, Durable: f != nil}
	})
}

// TakeCallback returns the take callback, nil if none is set.
func (c *Cache) TakeCallback() TakeCallback { return c.callbacks.Load().take }

// TakePromise says how far single use can be trusted. Early data are made and accepted only if it is both atomic and
// durable. Of a take callback that the application has set both are taken for granted, of that of a [StoreBinding] what
// its store says, and without one neither holds.
func (c *Cache) TakePromise() TakePromise { return c.callbacks.Load().promise }

// SetGenerateID sets the callback that makes session IDs; nil unsets it, and the cache makes them itself.
func (c *Cache) SetGenerateID(f GenerateIDCallback) {
	c.updateCallbacks(func(s *callbacks) { s.generateID = f })
}

// GenerateID returns the callback that makes session IDs, nil if none is set.
func (c *Cache) GenerateID() GenerateIDCallback { return c.callbacks.Load().generateID }

// guard is deferred around every callback: a panic harms one connection at most, and is reported.
func (c *Cache) guard(callback string, failed *error) {
	r := recover()
	if r == nil {
		return
	}
	c.counters.callbackPanics.Add(1)
	c.logger.Error("reprise: callback panicked", "callback", callback, "panic", fmt.Sprint(r), "stack", stack.Trace())
	if failed != nil {
		*failed = fmt.Errorf("reprise: %s callback panicked", callback)
	}
}

// callNew returns whether the session may be kept. A panic keeps it: the residence then ends in a remove call.
func (c *Cache) callNew(s *Session) (keep bool) {
	f := c.NewCallback()
	if f == nil {
		return true
	}
	keep = true
	defer c.guard("new", nil)
	return f(c, s)
}

func (c *Cache) callRemove(s *Session, why Removal, resident bool) {
	if resident {
		c.counters.removals[why].Add(1)
	}
	f := c.RemoveCallback()
	if f == nil {
		return
	}
	if why.Final() {
		c.internal.beginRemoval(&s.id)
		defer c.internal.endRemoval(&s.id)
	}
	defer c.guard("remove", nil)
	f(c, s, why, resident)
}

func (c *Cache) callGet(ctx context.Context, id SessionID) (s *Session, err error) {
	f := c.GetCallback()
	if f == nil {
		return nil, nil
	}
	defer c.guard("get", &err)
	return f(ctx, id)
}

func (c *Cache) callTake(ctx context.Context, f TakeCallback, s *Session) (taken bool, err error) {
	defer c.guard("take", &err)
	return f(ctx, s)
}

func (c *Cache) callGenerateID(f GenerateIDCallback) (id SessionID, err error) {
	defer c.guard("generate ID", &err)
	if id, err = f(c); err == nil && id.IsZero() {
		err = errors.New("reprise: the generate ID callback made an empty ID")
	}
	return id, err
}
