package reprise

import "time"

// MayAcceptEarlyData tells whether an engine may accept early data with a session that it resumes: the session was made for them,
// its take is atomic and durable ([TakePromise]), it was made no more than 10 seconds in the future of the cache's clock, and that
// clock agrees with the one of the store, if the store is [Clocked]. Otherwise the handshake goes on without them.
//
// RFC 8446, section 8.3, has a server compare the age of a session with what the client says of it, to bound the time in which early
// data can be sent again. Where the clocks of two nodes differ by more than that bound, the age says nothing: a session of the future
// tells of it, and one of a node whose clock is behind only looks older than it is. So nodes compare their clocks with that of the
// store. That no early data are accepted twice rests on the take alone (section 8.1), which knows no clocks.
func (c *Cache) MayAcceptEarlyData(s *Session) bool {
	return s.maxEarlyData > 0 && s.created-c.now() <= maxEarlyDataSkew && c.hasEarlyData(s.id)
}

// hasEarlyData tells whether this node takes part in early data at present, with a session of the ID.
func (c *Cache) hasEarlyData(id SessionID) bool {
	callbacks := c.callbacks.Load()
	promise := callbacks.promise
	return promise.Atomic && promise.Durable && (callbacks.agreesOnTime == nil || callbacks.agreesOnTime(id))
}

// maxEarlyDataSkew is by how much clocks of nodes may differ where early data are accepted: what RFC 8446, section 8.3, has servers
// allow for errors of clocks.
const maxEarlyDataSkew milliseconds = 10 * 1000

// maxClockDifference is by how much the clock of each may differ from the store's, then.
const maxClockDifference = time.Duration(maxEarlyDataSkew) * time.Millisecond / 2

// agreesOnTime reports whether the clock of this node and that of the part of the store which has the record of a session
// agree. If it can't be told, they do not.
func (b *StoreBinding) agreesOnTime(id SessionID) bool {
	keys := b.openingKeys(id)
	for _, key := range keys {
		if !b.agreesWith(key.storeKey(id)) {
			return false
		}
	}
	return len(keys) > 0
}

// agreesWith compares with the part of the store that a record is in.
func (b *StoreBinding) agreesWith(key StoreKey) bool {
	now := b.cache.options.Now()
	shown, ok := b.store.(Clocked).Clock(key)
	if !ok {
		return false
	}
	ahead := now.Sub(shown)
	if ahead.Abs() <= maxClockDifference {
		return true
	}
	if !b.clockDiffered.Load() && !b.clockDiffered.Swap(true) {
		b.logger.Warn("reprise: the clock of this node differs from the store's; there are no early data while it does", "ahead", ahead)
	}
	return false
}
