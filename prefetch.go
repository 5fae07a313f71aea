package reprise

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"
)

// Expect tells which session IDs Lookup will be called for, in their order, for an engine that knows them all before the first call, and before
// it computes its keys: those among the PSK identities of a ClientHello. The external cache is asked for them at once, so that all lookups
// of a handshake take the time of one, and that passes while the engine computes: a get callback of the application is called on a
// goroutine of its own for each, and that of a [StoreBinding] has no need of one. What it returns counts when Lookup comes to the ID.
// An ID that Lookup is never called for, or is called for without having been expected, does no harm.
//
// Not asked for ahead are IDs that no fleet key has made, a session that the internal cache answers for and what lies behind it, and
// what [MaxLookups] leaves out.
//
// Expect(nil) drops the answers: an engine calls it that waits for the client again before it looks for a session, as after a
// HelloRetryRequest (RFC 8446, section 4.1.4). What was asked for counts as looked up.
func (n *Connection) Expect(ids []SessionID) {
	n.endLookups()
	n.expected = ids
	if n.askAhead() {
		// Let the question go out before the engine computes: once to have it asked, and once more because it lets other
		// handshakes ask theirs with it (see getbatch.go).
		runtime.Gosched()
		runtime.Gosched()
	}
}

// askBehind asks the get callback for the IDs that are expected behind one, which it is about to be asked for.
func (n *Connection) askBehind(id SessionID) {
	if at := slices.Index(n.expected, id); at >= 0 && !n.cache.isForeign(id) {
		n.expected = n.expected[at+1:]
		n.askAhead()
	}
}

// askAhead asks the get callback for the IDs that are expected next, and reports whether it asked for any.
func (n *Connection) askAhead() (asked bool) {
	if n.cache.GetCallback() == nil {
		return false
	}
	for ; len(n.expected) > 0 && n.lookups < MaxLookups; n.expected = n.expected[1:] {
		next := n.expected[0]
		if n.cache.isTrusted(next) {
			break // it will hardly be declined
		}
		if n.prefetched(next) == nil && n.prefetch(next) {
			asked = true
		}
	}
	return asked
}

// A prefetch is what the external cache was asked for an ID that Lookup has not come to yet.
type prefetch struct {
	connection *Connection
	id         SessionID
	get        pendingGet // nil when Lookup has come to the ID
	answer     answer
}

// A pendingGet is a get callback under way.
type pendingGet interface {
	// wait returns the answer, which is an error if the context is done first. That is made if there is something to wait for.
	wait(external contextFunc) answer
}

// prefetch begins one, and reports whether it did: not for an ID that no fleet key has made. It counts as a lookup.
func (n *Connection) prefetch(id SessionID) bool {
	p := &prefetch{connection: n, id: id}
	if !p.begin() {
		return false
	}
	n.prefetches = append(n.prefetches, p)
	n.lookups++
	return true
}

// prefetched returns what was begun for an ID, nil if nothing was.
func (n *Connection) prefetched(id SessionID) *prefetch {
	for _, p := range n.prefetches {
		if p.id == id {
			return p
		}
	}
	return nil
}

// begin asks the external cache, and reports whether it could. After a panic it did not, and Lookup will ask.
func (p *prefetch) begin() (begun bool) {
	n := p.connection
	defer n.cache.guard("get", nil)
	p.get = nil
	since := n.cache.internal.moment(&p.id)
	if begin := n.cache.callbacks.Load().begin; begin != nil {
		n.startLookups()
		p.get = begin(p.id, since)
	} else if !n.cache.isForeign(p.id) {
		p.get = n.cache.beginCallback(n.lookupContext(), p.id, since)
	}
	return p.get != nil
}

// wait returns the answer. If there was a notice of the session since the external cache was asked, that may have been of its put, and not
// of its removal: a second look will tell. Then the other sessions that are waited for have one at the same time, since
// they were made at the same time as a rule.
func (p *prefetch) wait(external contextFunc) answer {
	if p.get == nil {
		return p.answer
	}
	p.finish(external)
	if n := p.connection; n.cache.isNoted(&p.answer) && p.begin() {
		for _, other := range n.prefetches {
			if other.get != nil && other != p {
				other.begin()
			}
		}
		p.finish(external)
	}
	return p.answer
}

func (p *prefetch) finish(external contextFunc) {
	p.answer, p.get = p.get.wait(external), nil
}

// A callbackGet is a call of a get callback of the application, on a goroutine of its own.
type callbackGet struct {
	done   chan struct{} // closed when it has returned
	answer answer
}

func (c *Cache) beginCallback(ctx context.Context, id SessionID, since moment) *callbackGet {
	g := &callbackGet{done: make(chan struct{}), answer: answer{since: since, err: errGetExited}}
	go func() {
		defer close(g.done)
		s, err := c.callGet(ctx, id)
		g.answer = c.gotten(id, since, s, err)
	}()
	return g
}

// errGetExited is the answer of a get callback that ends its goroutine.
var errGetExited = errors.New("reprise: the get callback ended the goroutine")

// wait implements [pendingGet].
func (g *callbackGet) wait(external contextFunc) answer {
	select {
	case <-g.done:
		return g.answer
	default:
	}
	ctx := external(time.Time{})
	select {
	case <-g.done:
		return g.answer
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}
