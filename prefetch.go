package reprise

import (
	"context"
	"slices"
)

// Expect tells which session IDs Lookup will be called for, in their order, for an engine that knows them all before the first call: those
// among the PSK identities of a ClientHello. It asks nobody. An ID that Lookup is never called for, or is called for without
// having been expected, does no harm.
//
// When Lookup asks the get callback for one of them, those behind it are asked for at the same time, each on a goroutine of its own, so
// that all lookups of a handshake take the time of one. What the callback returns then counts when Lookup comes to the ID. Not asked
// for ahead are IDs that no fleet key has made, what lies behind a session that the internal cache answers for, and
// what [MaxLookups] leaves out.
func (n *Connection) Expect(ids []SessionID) { n.expected = ids }

// prefetchBehind asks the get callback for the IDs that are expected behind one, which it is about to be asked for.
func (n *Connection) prefetchBehind(id SessionID) {
	at := slices.Index(n.expected, id)
	if at < 0 || n.cache.isForeign(id) {
		return
	}
	behind := n.expected[at+1:]
	for n.expected = behind; len(n.expected) > 0 && n.lookups < MaxLookups; n.expected = n.expected[1:] {
		next := n.expected[0]
		if _, isTrusted := n.cache.resident(next); isTrusted {
			return // it will hardly be declined
		}
		if n.prefetches[next] == nil && !n.cache.isForeign(next) {
			n.prefetch(next)
		}
	}
}

// A prefetch is what the get callback was asked for an ID that Lookup has not come to yet.
type prefetch struct {
	done   chan struct{} // closed when there is an answer
	answer answer
}

// prefetch begins one. It counts as a lookup.
func (n *Connection) prefetch(id SessionID) {
	if n.prefetches == nil {
		n.prefetches = make(map[SessionID]*prefetch)
	}
	p := &prefetch{done: make(chan struct{})}
	n.prefetches[id] = p
	n.lookups++
	ctx := n.lookupContext()
	go func() {
		defer close(p.done)
		p.answer = n.cache.ask(ctx, id)
	}()
}

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
