// Package metrics shows what a server counts: to Prometheus, and in its status.
package metrics

import (
	"github.com/reprise-tls/reprise"
)

// A series is a number that is read from a snapshot S of counters, or one number for each value of a label.
type series[S any] struct {
	name, help string
	gauge      bool
	label      string // empty: one number, under the empty key
	values     func(S) map[string]float64
}

func counter[S any](name, help string, value func(S) uint64) series[S] {
	return series[S]{name: name, help: help, values: func(s S) map[string]float64 {
		return map[string]float64{"": float64(value(s))}
	}}
}

func gauge[S any](name, help string, value func(S) int) series[S] {
	return series[S]{name: name, help: help, gauge: true, values: func(s S) map[string]float64 {
		return map[string]float64{"": float64(value(s))}
	}}
}

func counters[S any](name, help, label string, values func(S) map[string]float64) series[S] {
	return series[S]{name: name, help: help, label: label, values: values}
}

type cacheStats = reprise.Stats

// ofCache are the numbers of a session cache: the counters of SSL_CTX_sess_number(3), and a few more.
var ofCache = []series[cacheStats]{
	gauge("sessions", "Sessions in the internal cache.", func(s cacheStats) int { return s.Number }),
	gauge("unconfirmed_sessions", "Sessions in the internal cache of clients that have not proved themselves.", func(s cacheStats) int { return s.Unconfirmed }),
	counter("accepts", "Server connections begun.", func(s cacheStats) uint64 { return s.Accept }),
	counter("accepts_good", "Handshakes completed, resumed ones included.", func(s cacheStats) uint64 { return s.AcceptGood }),
	counter("hits", "Sessions resumed, wherever they were found.", func(s cacheStats) uint64 { return s.Hits }),
	counter("callback_hits", "Sessions that the store returned, whether or not they were resumed.", func(s cacheStats) uint64 { return s.CallbackHits }),
	counter("misses", "Lookups in the internal cache that found nothing.", func(s cacheStats) uint64 { return s.Misses }),
	counter("doubted", "Sessions in the internal cache that the store was asked about, because their removal may have been missed.", func(s cacheStats) uint64 { return s.Doubted }),
	counter("timeouts", "Sessions that were found and had expired.", func(s cacheStats) uint64 { return s.Timeouts }),
	counter("evictions", "Sessions evicted because the internal cache was full.", func(s cacheStats) uint64 { return s.CacheFull }),
	counter("adopted", "Sessions of the store that the internal cache has kept.", func(s cacheStats) uint64 { return s.Adopted }),
	counter("no_room", "Unconfirmed sessions that were stored but not kept, because confirmed ones fill the internal cache.", func(s cacheStats) uint64 { return s.NoRoom }),
	counter("not_kept", "Unconfirmed sessions that were neither kept nor stored, because their source address has made too many.", func(s cacheStats) uint64 { return s.NotKept }),
	counter("callback_panics", "Callbacks that panicked.", func(s cacheStats) uint64 { return s.CallbackPanics }),
	counters("outcomes", "Completed handshakes by their outcome: resumed, not-offered, or why the session was declined.", "reason", func(s cacheStats) map[string]float64 {
		return byName(s.Outcomes, reprise.Reason.String)
	}),
	counters("removals", "Sessions that left the internal cache, by the reason.", "reason", func(s cacheStats) map[string]float64 {
		return byName(s.Removals, reprise.Removal.String)
	}),
}

type storeStats = reprise.StoreStats

// ofStore are the numbers of the way between cache and store.
var ofStore = []series[storeStats]{
	counters("calls", "Calls of the store, repeated ones and probes included.", "call", func(s storeStats) map[string]float64 {
		return map[string]float64{"get": float64(s.Gets), "take": float64(s.Takes), "put": float64(s.Puts), "delete": float64(s.Deletes)}
	}),
	counter("errors", "Calls of the store that failed.", func(s storeStats) uint64 { return s.Errors }),
	counter("timeouts", "Calls of the store that did not end in time.", func(s storeStats) uint64 { return s.Timeouts }),
	counter("gets_shared", "Gets that were answered by the call of another get.", func(s storeStats) uint64 { return s.GetsShared }),
	gauge("queue_length", "Writes that wait.", func(s storeStats) int { return s.Queued }),
	gauge("queue_bytes", "Bytes of records that wait to be written.", func(s storeStats) int { return s.QueuedBytes }),
	counter("puts_cancelled", "Records that were taken, deleted or replaced before they were written.", func(s storeStats) uint64 { return s.PutsCancelled }),
	counter("puts_failed", "Records that the store failed to write.", func(s storeStats) uint64 { return s.PutsFailed }),
	counter("puts_dropped", "Records that the queue had no room for.", func(s storeStats) uint64 { return s.PutsDropped }),
	counter("deletes_lost", "Deletes that the queue had no room for.", func(s storeStats) uint64 { return s.DeletesLost }),
	counter("foreign_ids", "Lookups of IDs that no fleet key has made; the store was not asked.", func(s storeStats) uint64 { return s.Foreign }),
	counter("unsealed", "Sessions that were not stored, because their ID is not of a fleet key or too short.", func(s storeStats) uint64 { return s.Unsealed }),
	counter("damaged", "Records that did not open; they are as good as absent.", func(s storeStats) uint64 { return s.Damaged }),
	counter("stale", "Sessions for single use that were declined because their record is of another life of the store.", func(s storeStats) uint64 { return s.Stale }),
	counter("notices", "Records that the store has told the removal of.", func(s storeStats) uint64 { return s.Notices }),
	counter("notices_lost", "How often removals by others began to be missed.", func(s storeStats) uint64 { return s.NoticesLost }),
	gauge("following", "1 while the store tells of all removals, else 0.", following),
	gauge("revocations", "Names that sessions were revoked by, as far as they are kept.", func(s storeStats) int { return s.Revocations }),
	gauge("revocations_unread", "1 while what was revoked can't be read, else 0.", revocationsUnread),
	counter("swept", "Expired records that were swept.", func(s storeStats) uint64 { return s.Swept }),
	gauge("breaker_open", "1 while the store does not answer and is left alone, else 0.", breakerOpen),
	counter("breaker_opened", "How often the store had to be left alone.", func(s storeStats) uint64 { return s.BreakerOpened }),
}

func following(s storeStats) int { return oneIf(s.Following) }

func revocationsUnread(s storeStats) int { return oneIf(s.RevocationsUnread) }

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func breakerOpen(s storeStats) int {
	if s.Breaker == reprise.BreakerClosed {
		return 0
	}
	return 1
}

// byName returns counts under the names of what is counted.
func byName[K comparable](counts map[K]uint64, name func(K) string) map[string]float64 {
	named := make(map[string]float64, len(counts))
	for k, n := range counts {
		named[name(k)] = float64(n)
	}
	return named
}

// Cache returns the numbers of a cache by their names.
func Cache(s reprise.Stats) map[string]any { return snapshot(ofCache, s) }

// Store returns the numbers of a store binding by their names.
func Store(s reprise.StoreStats) map[string]any { return snapshot(ofStore, s) }

func snapshot[S any](all []series[S], s S) map[string]any {
	named := make(map[string]any, len(all))
	for _, one := range all {
		values := one.values(s)
		if one.label == "" {
			named[one.name] = values[""]
		} else {
			named[one.name] = values
		}
	}
	return named
}
