package reprise

import (
	"context"
	"errors"
	"runtime"
	"slices"
)

// Expect tells which session IDs Lookup will be called for, in their order, for an engine that knows them all before the first call, and before
// it computes its keys: those among the PSK identities of a ClientHello. The get callback is called for them at once, each on a goroutine of
// its own, so that all lookups of a handshake take the time of one, and that passes while the engine computes. What the callback
// returns counts when Lookup comes to the ID. An ID that Lookup is never called for, or is called for without having been
// expected, does no harm.
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
		if n.prefetches[next] == nil && !n.cache.isForeign(next) {
			n.prefetch(next)
			asked = true
		}
	}
	return asked
}

// A prefetch is what the get callback was asked for an ID that Lookup has not come to yet.
type prefetch struct {
	cache  *Cache
	ctx    context.Context
	id     SessionID
	done   chan struct{} // closed when there is an answer
	answer answer
}

// prefetch begins one. It counts as a lookup.
func (n *Connection) prefetch(id SessionID) {
	if n.prefetches == nil {
		n.prefetches = make(map[SessionID]*prefetch)
	}
	p := &prefetch{
		cache:  n.cache,
		ctx:    n.lookupContext(),
		id:     id,
		done:   make(chan struct{}),
		answer: answer{err: errGetExited},
	}
	n.prefetches[id] = p
	n.lookups++
	if pool := n.cache.callbacks.Load().prefetchers; pool != nil {
		pool.Do(p)
	} else {
		go p.ask()
	}
}

// ask calls the get callback.
func (p *prefetch) ask() {
	defer close(p.done)
	p.answer = p.cache.ask(p.ctx, p.id)
}

// errGetExited is the answer of a get callback that ends its goroutine.
var errGetExited = errors.New("reprise: the get callback ended the goroutine")

// wait returns the answer, or an error if there is none when ctx is done.
func (p *prefetch) wait(ctx context.Context) answer {
	select {
	case <-p.done:
		return p.answer
	default:
	}
	select {
	case <-p.done:
		return p.answer
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}
