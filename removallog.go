package reprise

import "sync/atomic"

// A mark is a moment in a shard's removals.
type mark uint64

// mark returns the present moment for the session id.
func (c *internalCache) mark(id *SessionID) mark {
	s, _ := c.locate(id)
	return mark(s.removals.now.Load())
}

func (c *internalCache) removedSince(id *SessionID, since mark) bool {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removals.has(fingerprint, since)
}

// beginRemoval notes that the session id is being removed from the external cache too. Until endRemoval is called, and
// for lookups that began before that, it counts as removed, whether or not it is still found there.
func (c *internalCache) beginRemoval(id *SessionID) {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removals.begin(fingerprint)
}

func (c *internalCache) endRemoval(id *SessionID) {
	s, fingerprint := c.locate(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removals.end(fingerprint)
}

// A removalLog remembers the last removals that concern other holders of a session too, so that a lookup that began
// before, or meanwhile, does not bring the session back.
type removalLog struct {
	now      atomic.Uint64  // a mark; also read without the lock
	recent   [256]uint64    // fingerprints; that of removal number n is at n modulo 256
	underWay map[uint64]int // how many removals of each fingerprint have begun and not ended
}

func (l *removalLog) begin(fingerprint uint64) {
	if l.underWay == nil {
		l.underWay = make(map[uint64]int)
	}
	l.underWay[fingerprint]++
}

func (l *removalLog) end(fingerprint uint64) {
	if l.underWay[fingerprint]--; l.underWay[fingerprint] == 0 {
		delete(l.underWay, fingerprint)
	}
	l.add(fingerprint)
}

func (l *removalLog) add(fingerprint uint64) {
	now := l.now.Load()
	l.recent[now%uint64(len(l.recent))] = fingerprint
	l.now.Store(now + 1)
}

// has reports whether a removal was logged since the mark. It says yes too if that was too long ago to know.
func (l *removalLog) has(fingerprint uint64, since mark) bool {
	return l.hasForgotten(since) || l.saw(fingerprint, since)
}

// hasForgotten reports whether the mark is older than what is remembered.
func (l *removalLog) hasForgotten(since mark) bool {
	return mark(l.now.Load())-since > mark(len(l.recent))
}

// saw reports whether a removal is under way, or remembered since the mark.
func (l *removalLog) saw(fingerprint uint64, since mark) bool {
	if l.underWay[fingerprint] > 0 {
		return true
	}
	now := mark(l.now.Load())
	if l.hasForgotten(since) {
		since = now - mark(len(l.recent))
	}
	for n := since; n < now; n++ {
		if l.recent[n%mark(len(l.recent))] == fingerprint {
			return true
		}
	}
	return false
}
