package reprise

import (
	"context"
	"crypto/x509"
	"errors"
	"time"
)

// found is a session that was found, and how.
type found struct {
	session  *Session
	external bool   // by the get callback
	since    moment // when the lookup began
	chains   [][]*x509.Certificate
}

// A contextFunc returns the context of a call of the external cache. endsBy is when the call ends by itself, zero if it does not.
type contextFunc func(endsBy time.Time) context.Context

// find looks for the session id in the internal cache, then by the get callback. external returns the context of calls
// to the external cache; ahead is what it was asked already, or nil. The reason is [Resumed] if there is one; whether it may resume is not
// decided here.
func (c *Cache) find(id SessionID, external contextFunc, ahead *prefetch) (found, Reason) {
	f := found{since: c.internal.moment(&id)}
	doubted, isTrusted := c.resident(id)
	switch {
	case isTrusted:
		if ahead != nil { // it has come since
			c.counters.misses.Add(1)
		}
		f.session = doubted
		return f, Resumed
	case doubted != nil:
		c.counters.doubted.Add(1)
	case c.Mode()&ModeNoInternalLookup == 0:
		c.counters.misses.Add(1)
	}
	if c.GetCallback() == nil {
		return f, Unknown
	}
	var a answer
	if ahead != nil {
		a = ahead.wait(external)
	} else {
		a = c.ask(external(time.Time{}), id)
	}
	f.external, f.since = true, a.since
	switch {
	case a.err != nil:
		return f, storeReason(a.err)
	case a.session == nil:
		if doubted != nil {
			c.Forget(id)
		}
		return f, Unknown
	case c.internal.removedSince(&id, a.since.mark) || c.isNoted(&a):
		return f, Unknown
	}
	f.session = a.session
	return f, Resumed
}

// An answer is what the get callback has returned, at most one of the two, and the moment when it was called.
type answer struct {
	since   moment
	session *Session
	err     error
}

// ask calls the get callback.
func (c *Cache) ask(ctx context.Context, id SessionID) (a answer) {
	for range 2 {
		since := c.internal.moment(&id)
		s, err := c.callGet(ctx, id)
		a = c.gotten(id, since, s, err)
		if !c.isNoted(&a) {
			break
		} // else the notice may have been of the put, and not of a removal: a second look will tell
	}
	return a
}

// isNoted reports whether there was a notice of the session that the callback has returned, since it was called.
func (c *Cache) isNoted(a *answer) bool {
	return a.session != nil && c.internal.residents.notedSince(a.session.residence.tag, a.since)
}

// resident returns the session id of the internal cache, nil if there is none or the mode has it left alone. It is
// trusted unless another node may have removed it unseen and the get callback can tell.
func (c *Cache) resident(id SessionID) (s *Session, isTrusted bool) {
	if c.Mode()&ModeNoInternalLookup != 0 {
		return nil, false
	}
	s = c.Lookup(id)
	return s, s != nil && (c.internal.residents.trusts(s) || c.GetCallback() == nil)
}

// isTrusted reports whether resident would return a session that is trusted though the get callback could tell. It does not allocate.
func (c *Cache) isTrusted(id SessionID) bool {
	var s Session
	return c.Mode()&ModeNoInternalLookup == 0 && c.internal.load(&id, &s) && c.internal.residents.trusts(&s)
}

// gotten counts what the get callback has returned, and makes an answer of it.
func (c *Cache) gotten(id SessionID, since moment, s *Session, err error) answer {
	switch {
	case err != nil:
		s = nil
	case s == nil:
	case s.id != id:
		c.logger.Error("reprise: the get callback returned another session than it was asked for", "session", c.Handle(id))
		s, err = nil, errOtherSession
	default:
		c.counters.callbackHits.Add(1)
	}
	return answer{since: since, session: s, err: err}
}

var errOtherSession = errors.New("reprise: the get callback returned another session than it was asked for")

// isForeign tells whether an ID is certainly not one that this cache or another node with its fleet keys has made.
func (c *Cache) isForeign(id SessionID) bool {
	return c.GenerateID() == nil && c.Keys().keyOf(id) == nil
}

func storeReason(err error) Reason {
	if errors.Is(err, context.DeadlineExceeded) {
		return StoreTimeout
	}
	return StoreError
}

// expired counts a session that was found past its time, and ends its residence.
func (c *Cache) expired(f found) {
	c.counters.timeouts.Add(1)
	if f.external {
		return
	}
	if s := c.internal.removeExpired(&f.session.id, c.now()); s != nil {
		c.callRemove(s, RemovedExpired, true)
	}
}

// take takes a session for single use from the external cache and from this one. The reason is [Resumed] if it was
// there to be taken. Without a take callback, the internal cache's word must do.
func (c *Cache) take(f found, external func() context.Context) Reason {
	s := f.session
	take := c.TakeCallback() // may be unset meanwhile
	if take == nil {
		old, resident, taken := c.internal.takeOnce(&s.id, f.since.mark)
		if !taken {
			return Used
		}
		defer c.internal.endRemoval(&s.id)
		c.removedUsed(s, old, resident)
		return Resumed
	}
	taken, err := c.callTake(external(), take, s)
	if err != nil {
		return storeReason(err) // it may have been taken, or not: the next attempt will tell
	}
	old, resident := c.internal.remove(&s.id, RemovedUsed)
	c.removedUsed(s, old, resident)
	if !taken {
		return Used
	}
	return Resumed
}

// removedUsed calls the remove callback for a session that was taken. old is what was resident under its ID, nil also if its
// announcer will call.
func (c *Cache) removedUsed(s, old *Session, resident bool) {
	switch {
	case old != nil:
		c.callRemove(old, RemovedUsed, true)
	case !resident:
		c.callRemove(s, RemovedUsed, false)
	}
}
