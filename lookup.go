package reprise

import (
	"context"
	"crypto/x509"
	"errors"
)

// found is a session that was found, and how.
type found struct {
	session  *Session
	external bool   // by the get callback
	since    moment // when the lookup began
	chains   [][]*x509.Certificate
}

// find looks for the session id in the internal cache, then by the get callback. external returns the context of calls
// to the external cache. The reason is [Resumed] if there is one; whether it may resume is not decided here.
func (c *Cache) find(id SessionID, external func() context.Context) (found, Reason) {
	f := found{since: c.internal.moment(&id)}
	var doubted *Session
	if c.Mode()&ModeNoInternalLookup == 0 {
		switch s := c.Lookup(id); {
		case s == nil:
			c.counters.misses.Add(1)
		case c.internal.residents.trusts(s) || c.GetCallback() == nil:
			f.session = s
			return f, Resumed
		default:
			doubted = s
			c.counters.doubted.Add(1)
		}
	}
	if c.GetCallback() == nil {
		return f, Unknown
	}
	f.external = true
	session, err := c.callGet(external(), id)
	if session != nil && c.internal.residents.notedSince(session.residence.tag, f.since) {
		// The notice may have been of the put, and not of a removal: a second look will tell.
		f.since = c.internal.moment(&id)
		session, err = c.callGet(external(), id)
	}
	switch {
	case err != nil:
		return f, storeReason(err)
	case session == nil:
		if doubted != nil {
			c.Forget(id)
		}
		return f, Unknown
	case session.id != id:
		c.logger.Error("reprise: the get callback returned another session than it was asked for", "session", c.Handle(id))
		return f, StoreError
	}
	c.counters.callbackHits.Add(1)
	if c.internal.removedSince(&id, f.since.mark) || c.internal.residents.notedSince(session.residence.tag, f.since) {
		return f, Unknown
	}
	f.session = session
	return f, Resumed
}

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
	if c.TakeCallback() == nil {
		old, resident, taken := c.internal.takeOnce(&s.id, f.since.mark)
		if !taken {
			return Used
		}
		defer c.internal.endRemoval(&s.id)
		c.removedUsed(s, old, resident)
		return Resumed
	}
	taken, err := c.callTake(external(), s)
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
