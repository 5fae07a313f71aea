// Package storetest checks that a [reprise.Store] keeps the contract written there. The backends of Reprise pass it; one
// of your own should too:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) reprise.Store {
//			store := mystore.Open(t.TempDir())
//			t.Cleanup(func() { store.Close() })
//			return store
//		})
//	}
//
// Each case quotes the sentence of the contract that it checks, and prints it when it fails. The optional interfaces
// are checked as far as the store has them. Run it with the race detector: some cases find faults only with it.
package storetest

import (
	"context"
	"testing"

	"github.com/reprise-tls/reprise"
)

// Run checks the stores that open returns. open is called once for each case, from the test's goroutine, and returns an
// empty store each time. What is to be closed, open closes with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) reprise.Store) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// A Suite is [Run] for a store that can do more than be opened: its records outlive the process, or are shared.
type Suite struct {
	// Open returns an empty store, as told at [Run]. It must be set.
	Open func(t *testing.T) reprise.Store

	// Reopen ends the process behind store as far as that can be done in a test (it closes the store, or kills the
	// server) and returns a store with the same records. store is not used any more. If nil, the cases about restarts
	// are skipped.
	Reopen func(t *testing.T, store reprise.Store) reprise.Store

	// Second returns another store on the same records, as another node of a fleet has. If nil, the cases about several
	// nodes are skipped.
	Second func(t *testing.T, store reprise.Store) reprise.Store
}

// Run checks the stores of the suite.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.check(c.checker(t, s.backend(t)))
		})
	}
}

// backend ties the suite's functions to the test of one case.
func (s Suite) backend(t *testing.T) backend {
	b := backend{open: func() reprise.Store { return s.Open(t) }}
	if s.Reopen != nil {
		b.reopen = func(store reprise.Store) reprise.Store { return s.Reopen(t, store) }
	}
	if s.Second != nil {
		b.second = func(store reprise.Store) reprise.Store { return s.Second(t, store) }
	}
	return b
}

// A backend makes the stores of one case. reopen and second may be nil.
type backend struct {
	open   func() reprise.Store
	reopen func(reprise.Store) reprise.Store
	second func(reprise.Store) reprise.Store
}

// A tester is what the cases need of a *testing.T. The suite's own tests put another in its place.
type tester interface {
	Helper()
	Context() context.Context
	Fatal(args ...any)
	Skip(args ...any)
}

// A testCase checks one sentence of the contract, quoted from the comments in store.go.
type testCase struct {
	name     string
	sentence string
	check    func(*checker)
}

func (c testCase) checker(t tester, b backend) *checker {
	return &checker{tester: t, backend: b, sentence: c.sentence}
}

var cases = []testCase{
	{"Miss", "An absent record is not an error.", checkMiss},
	{"PutGet", "Get returns the record under key and leaves it there.", checkPutGet},
	{"Overwrite", "Put stores record under key, replacing what was there", checkOverwrite},
	{"OverwriteShortens", "as one atomic step together with the lifetime", checkOverwriteShortens},
	{"OverwriteLengthens", "as one atomic step together with the lifetime", checkOverwriteLengthens},
	{"Lifetime", "for lifetime from now", checkLifetime},
	{"LifetimeZero", "A lifetime of zero or less is an error.", checkLifetimeZero},
	{"LifetimeShortest", "a store may round up to its own resolution, a second at most, and never down to nothing", checkLifetimeShortest},
	{"LifetimeLong", "for lifetime from now", checkLifetimeLong},
	{"ExpiredGet", "A record that is past its lifetime is absent, whether or not it was swept yet.", checkExpiredGet},
	{"ExpiredTake", "A record that is past its lifetime is absent, whether or not it was swept yet.", checkExpiredTake},
	{"Take", "Take returns the record under key and deletes it, in one atomic step", checkTake},
	{"TakeRace", "of any number of concurrent takers of a key, at most one gets the record", checkTakeRace},
	{"TakeDeleteRace", "of any number of concurrent takers of a key, at most one gets the record", checkTakeDeleteRace},
	{"TakePutRace", "Take returns the record under key and deletes it, in one atomic step", checkTakePutRace},
	{"Delete", "Delete removes the record under key. It is no error if there is none.", checkDelete},
	{"Cancelled", "Methods return when ctx is done, with an error.", checkCancelled},
	{"Aliasing", "it keeps no reference to record after Put has returned, and the caller may change what Get and Take return", checkAliasing},
	{"Sizes", "Records are between 1 and [MaxRecordLength] bytes; a store may refuse others with an error.", checkSizes},
	{"AllBytes", "A Store keeps opaque records under random 32-byte keys.", checkAllBytes},
	{"Concurrent", "All methods may be called from many goroutines at once.", checkConcurrent},
	{"SecondNode", "of concurrent takers one wins, from whichever node they come", checkSecondNode},
	{"Restart", "a record that was taken stays taken, after a crash, a restart, a restore and a failover", checkRestart},
	{"RestartLifetime", "A record that is past its lifetime is absent, whether or not it was swept yet.", checkRestartLifetime},
	{"Batch", "PutBatch does what as many calls of Put do, in any order", checkBatch},
	{"GetBatch", "GetBatch does what as many calls of Get do; keys may repeat.", checkGetBatch},
	{"Partition", "Partition returns the name of the partition that key is in", checkPartition},
	{"Incarnation", "TakeIncarnated is [Store.Take], and returns the number of the life in which the record was taken.", checkIncarnation},
	{"IncarnationRestart", "the number changes whenever records that were taken or deleted may have come back", checkIncarnationRestart},
	{"Clock", "Clock returns what the clock of the part of the store that key is in shows now, to a second", checkClock},
	{"Notices", "A Notifier is a store that tells of removals, whichever node or tool makes them", checkNotices},
	{"Value", "Value returns the value under key, nil if there is none.", checkValue},
	{"ValueApart", "They are no records: no other method shows, counts or changes them", checkValueApart},
	{"ValueCleared", "[Clearer] clears them too", checkValueCleared},
	{"SwapRace", "SwapValue puts value in the place of old", checkSwapRace},
	{"SwapCancelled", "Methods return when ctx is done, with an error.", checkSwapCancelled},
	{"ValueSecondNode", "What is in them concerns all nodes", checkValueSecondNode},
	{"ValueRestart", "when it has returned the value is as safe as a take of the store", checkValueRestart},
	{"Each", "Each calls f for every record that is not past its lifetime, in no particular order", checkEach},
	{"EachExpired", "Each calls f for every record that is not past its lifetime, in no particular order", checkEachExpired},
	{"EachStops", "until f returns false or ctx is done", checkEachStops},
	{"EachCalls", "it may call the store", checkEachCalls},
	{"Count", "A Counter is a store that can say how many records it holds.", checkCount},
	{"Sweep", "Sweep returns how many it removed.", checkSweep},
	{"Ping", "A Pinger is a store that can be asked whether it works.", checkPing},
	{"Clear", "A Clearer is a store that can delete all of its records, and values, in one call.", checkClear},
}
