package reprise

// StoreStats are the counters of a [StoreBinding] at one moment. Counters never go back.
type StoreStats struct {
	// Gets, Takes, Puts and Deletes count calls of the store, tries again and probes included; of a batch, each put.
	Gets, Takes, Puts, Deletes uint64
	// Errors counts calls that failed, Timeouts those that did not end in time; of a batch, each put.
	Errors, Timeouts uint64
	// GetsShared counts gets that were answered by a call of another get.
	GetsShared uint64
	// Queued is how many keys have something to be written now, QueuedBytes the length of their records.
	Queued, QueuedBytes int
	// PutsCancelled counts records that were taken, deleted or replaced before they were put; PutsFailed those whose put
	// failed; PutsDropped those that the queue had no room for, or that were left at the end.
	PutsCancelled, PutsFailed, PutsDropped uint64
	// DeletesLost counts deletes that the queue had no room for, or that were left at the end.
	DeletesLost uint64
	// Foreign counts lookups of IDs that no fleet key has made. The store was not asked.
	Foreign uint64
	// Unsealed counts sessions that were not stored: their ID is not of a fleet key, or too short.
	Unsealed uint64
	// Damaged counts records that did not open. They are as good as absent.
	Damaged uint64
	// Stale counts sessions for single use that were declined because their record is of another life of the store.
	Stale uint64
	// Notices counts records that the store has told the removal of, NoticesLost how often removals began to be missed.
	// Following tells that none is missed now; it is false too if the store does not tell of them.
	Notices, NoticesLost uint64
	Following            bool
	// Revocations is how many names of revocations are known now. RevocationsUnread tells that they could not be read for too long,
	// so that sessions with client certificates are declined.
	Revocations       int
	RevocationsUnread bool
	// Swept counts expired records that were swept.
	Swept uint64
	// Breaker says whether the store is asked; BreakerOpened counts how often it had to be left alone. Where partitions of it are left
	// alone one by one ([Partitioned]), Breaker is the worst of them.
	Breaker       BreakerState
	BreakerOpened uint64
}

// Stats returns the counters.
func (b *StoreBinding) Stats() StoreStats {
	s := b.queue.stats()
	s.Gets = b.calls.calls[storeGet].Load() + b.calls.calls[storeAsk].Load()
	s.Takes = b.calls.calls[storeTake].Load()
	s.Puts = b.calls.calls[storePut].Load()
	s.Deletes = b.calls.calls[storeDelete].Load()
	s.Errors = b.calls.errors.Load()
	s.Timeouts = b.calls.timeouts.Load()
	s.Foreign = b.foreign.count.Load()
	s.Unsealed = b.counts.unsealed.Load()
	s.Damaged = b.counts.damaged.Load()
	s.Stale = b.calls.stale.Load()
	s.Swept = b.counts.swept.Load()
	s.Notices, s.NoticesLost = b.notices.told.Load(), b.notices.lost.Load()
	s.Following = b.cache.internal.residents.present().isFollowing()
	if b.revocations != nil {
		known := b.revocations.known.Load()
		s.Revocations, s.RevocationsUnread = len(known.counts), known.isUnread
	}
	s.Breaker, s.BreakerOpened = b.partitions.status()
	return s
}
