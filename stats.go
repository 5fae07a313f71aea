package reprise

import "sync/atomic"

// Stats are the counters of SSL_CTX_sess_number(3) and a few more, at one moment. Counters never go back.
type Stats struct {
	// Number is how many sessions are in the internal cache now; Unconfirmed of them are of clients that have
	// not proved themselves.
	Number, Unconfirmed int
	// Accept counts server connections begun, AcceptGood the handshakes completed, resumed ones included. Connections that go
	// on without sessions, as those of a configuration that is not safe for them do, are in neither.
	Accept, AcceptGood uint64
	// Connect counts client connections that asked a [ClientCache] for a session, as each does that begins.
	Connect uint64
	// Hits counts sessions resumed, wherever they were found; CallbackHits those that the get callback returned,
	// whether or not they were resumed then, or looked up ([Connection.Expect]). Of what a [StoreBinding] asks its store ahead, those count that
	// were looked up.
	Hits, CallbackHits uint64
	// Misses counts lookups in the internal cache that found nothing, whatever the get callback then did.
	Misses uint64
	// Doubted counts sessions of the internal cache that the get callback was asked for, because another node may have
	// removed them unseen (see [Notifier]).
	Doubted uint64
	// Timeouts counts sessions that were found and had expired. Flushing does not count.
	Timeouts uint64
	// CacheFull counts sessions evicted to make room.
	CacheFull uint64
	// Adopted counts sessions of the get callback that the internal cache has kept.
	Adopted uint64
	// NoRoom counts sessions that the internal cache did not keep: unconfirmed ones that would have had to push out confirmed
	// ones, and those that [ErrNoRoom] is about.
	NoRoom uint64
	// NotKept counts sessions of unconfirmed clients that were neither kept nor announced, because their source
	// address has made too many (see [Options.UnconfirmedPerSource]).
	NotKept uint64
	// CallbackPanics counts callbacks that panicked.
	CallbackPanics uint64
	// Outcomes counts completed handshakes by their [Reason].
	Outcomes map[Reason]uint64
	// Removals counts calls of the remove callback for sessions that were resident, by their [Removal].
	Removals map[Removal]uint64
}

// counters are the parts of [Stats] that are counted.
type counters struct {
	accept, acceptGood, connect, hits, callbackHits, misses, doubted, timeouts, cacheFull, adopted, noRoom, notKept, callbackPanics atomic.Uint64

	outcomes [numReasons]atomic.Uint64
	removals [numRemovals]atomic.Uint64
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	n := &c.counters
	s := Stats{
		Number:         int(c.internal.total.Load()),
		Unconfirmed:    int(c.internal.unconfirmed.Load()),
		Accept:         n.accept.Load(),
		AcceptGood:     n.acceptGood.Load(),
		Connect:        n.connect.Load(),
		Hits:           n.hits.Load(),
		CallbackHits:   n.callbackHits.Load(),
		Misses:         n.misses.Load(),
		Doubted:        n.doubted.Load(),
		Timeouts:       n.timeouts.Load(),
		CacheFull:      n.cacheFull.Load(),
		Adopted:        n.adopted.Load(),
		NoRoom:         n.noRoom.Load(),
		NotKept:        n.notKept.Load(),
		CallbackPanics: n.callbackPanics.Load(),
		Outcomes:       make(map[Reason]uint64, numReasons),
		Removals:       make(map[Removal]uint64, numRemovals),
	}
	for i := range n.outcomes {
		s.Outcomes[Reason(i)] = n.outcomes[i].Load()
	}
	for i := range n.removals {
		s.Removals[Removal(i)] = n.removals[i].Load()
	}
	return s
}
