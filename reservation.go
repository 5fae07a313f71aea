package reprise

import "sync"

// reservations are the sessions for single use that connections are about to take. Nobody else on this node gets them
// meanwhile; other nodes know nothing of it.
type reservations struct {
	mu  sync.Mutex
	ids map[SessionID]struct{}
}

// add reports whether the ID was free.
func (r *reservations) add(id SessionID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.ids[id]; taken {
		return false
	}
	if r.ids == nil {
		r.ids = make(map[SessionID]struct{})
	}
	r.ids[id] = struct{}{}
	return true
}

func (r *reservations) remove(id SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, id)
}

// Reserve prepares a late [Connection.Take] of the session that Lookup returned, for an engine that must commit itself to the
// resumption before the peer has proved anything, as in TLS 1.2 (docs/decisions/0008-when-a-session-is-taken.md). For a
// session for single use it makes sure that no other connection of this cache is about to take it, and that the
// external cache has it still. It removes nothing. It returns [Resumed] if the session may be resumed, and why not otherwise. Take
// or [Connection.Release] ends the reservation.
func (n *Connection) Reserve(s *Session) Reason {
	if n.found.session != s {
		return n.Reason()
	}
	if !s.SingleUse() {
		return Resumed
	}
	reason := Used
	if n.cache.reserved.add(s.id) {
		n.reserved = s
		if reason = n.stillThere(); reason != Resumed {
			n.unreserve()
		}
	}
	n.settle(n.found, reason)
	return reason
}

// stillThere asks the external cache for the session found, unless it has just come from there.
func (n *Connection) stillThere() Reason {
	if n.found.external || n.cache.TakeCallback() == nil || n.cache.GetCallback() == nil {
		return Resumed
	}
	s, err := n.cache.callGet(n.lookupContext(), n.found.session.id)
	switch {
	case err != nil:
		return storeReason(err)
	case s == nil || !sameSecret(s, n.found.session):
		return Used
	}
	return Resumed
}

// Release gives back what [Connection.Reserve] has reserved, and ends lookups that are under way. An engine calls it when a handshake has
// failed.
func (n *Connection) Release() {
	n.endLookups()
	n.unreserve()
}

func (n *Connection) unreserve() {
	if n.reserved != nil {
		n.cache.reserved.remove(n.reserved.id)
		n.reserved = nil
	}
}
