package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// faults returns the broken stores that a case must catch, by what is wrong with them.
func faults(name string) map[string]func() *double {
	all := map[string]map[string]func() *double{
		"Miss":    {"a miss is an error": missIsError, "a miss is a record": missIsRecord},
		"PutGet":  {"get deletes": getDeletes, "put forgets": putForgets, "records are cut": putCuts},
		"Take":    {"take leaves the record": takeLeaves, "take deletes all": takeClears},
		"Delete":  {"delete does nothing": deleteForgets, "deleting nothing is an error": deleteFails},
		"Sizes":   {"long records are refused": putRefusesLong, "long records are cut": putCuts},
		"Restart": {"empty": restartsEmpty, "taken records come back": restartsFull},

		"Overwrite":          {"the first record stays": putKeepsFirst},
		"OverwriteShortens":  {"the first lifetime stays": putKeepsLifetime},
		"OverwriteLengthens": {"the first lifetime stays": putKeepsLifetime},
		"Lifetime":           {"never ends": putForever, "in seconds, rounded down": putSecondsDown},
		"LifetimeZero":       {"zero is for ever": putZeroForever},
		"LifetimeShortest":   {"rounded to nothing is an error": putSecondsDown, "rounded to for ever": putZeroForever},
		"LifetimeLong":       {"long ones overflow": putOverflows},
		"ExpiredGet":         {"never ends": putForever, "ends at once": putBriefly},
		"ExpiredTake":        {"take does not look at the expiry": takeIgnoresExpiry},
		"TakeRace":           {"take in two steps": takeInSteps},
		"TakeDeleteRace":     {"take in two steps": takeInSteps},
		"TakePutRace":        {"take in two steps": takeInSteps},
		"Cancelled":          {"the context is not looked at": ignoresContext, "ping works": pingIgnoresContext, "batches are put": batchIgnoresContext},
		"Aliasing":           {"put keeps the slice": putKeepsSlice, "get returns its slice": getSharesSlice},
		"AllBytes":           {"keys are text": keysAreText, "zero bytes end a record": recordsAreText},
		"Concurrent":         {"records get mixed up": recordsMixUp},
		"SecondNode":         {"records are not shared": nodesAreAlone, "takes race": nodesTakeInSteps},
		"RestartLifetime":    {"lifetimes begin again": restartsLifetimes},
		"Batch":              {"one is forgotten": batchForgets, "one lifetime for all": batchHasOneLifetime, "zero is for ever": batchForever, "it fails as a whole": batchFailsAsAWhole, "told twice": batchRepeats},
		"Partition":          {"at random": partitionsAtRandom, "long names": partitionsHaveLongNames},
		"GetBatch": {
			"one is forgotten": getsForget, "told twice": getsRepeat, "one is another's": getsMixUp, "repeated keys are one": getsOnce,
			"memory is shared": getsShare, "the context is not looked at": getsIgnoreContext,
		},
		"Incarnation":        {"each take in a life of its own": livesBriefly, "takes are in a life unheard of": livesUnheard},
		"IncarnationRestart": {"one life for all": restartsAlive},
		"Clock":              {"it stands still": clockStands, "it is never known": clockUnknown},
		"Notices":            {"it never says that it follows": followsSilently, "deletes are not told": tellsNoDeletes, "takes are not told": tellsNoTakes},
		"Value":              {"a miss is a value": valueMissIsValue, "old does not matter": swapBlindly, "old is kept": valueSharesSlice},
		"ValueApart":         {"values are records": valuesAreRecords},
		"ValueCleared":       {"values stay": clearLeavesValues, "values count": clearCountsValues},
		"SwapRace":           {"swap in two steps": swapInSteps},
		"SwapCancelled":      {"the context is not looked at": swapIgnoresContext},
		"ValueSecondNode":    {"values are not shared": nodesAreAlone},
		"ValueRestart":       {"empty": restartsEmpty},
		"Each":               {"one is left out": eachLeavesOut, "one comes twice": eachRepeats, "no expiry": eachWithoutExpiry},
		"EachExpired":        {"expired records are shown": eachShowsExpired},
		"EachStops":          {"false does not end it": eachGoesOn, "the context does not end it": eachIgnoresContext},
		"EachCalls":          {"calls from within fail": eachLocks},
		"Count":              {"overwriting counts": countPuts},
		"Sweep":              {"counts nothing": sweepCountsNothing, "removes what lives": sweepRemovesAll},
		"Ping":               {"fails": pingFails},
		"Clear":              {"leaves a record": clearLeaves, "counts wrong": clearCountsWrong},
	}
	return all[name]
}

func missIsError() *double {
	d := new(double)
	d.get = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok, err := d.Store.Get(ctx, key)
		if !ok && err == nil {
			err = errors.New("no such record")
		}
		return record, ok, err
	}
	return d
}

func missIsRecord() *double {
	d := new(double)
	d.take = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, _, err := d.Store.Take(ctx, key)
		return record, true, err
	}
	return d
}

func getDeletes() *double {
	d := new(double)
	d.get = d.Store.Take
	return d
}

func putForgets() *double {
	d := new(double)
	d.put = func(context.Context, reprise.StoreKey, []byte, time.Duration) error { return nil }
	return d
}

func putCuts() *double {
	d := new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return d.Store.Put(ctx, key, record[:min(len(record), 199)], lifetime)
	}
	return d
}

func putRefusesLong() *double {
	d := new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		if len(record) >= reprise.MaxRecordLength {
			return errors.New("too long")
		}
		return d.Store.Put(ctx, key, record, lifetime)
	}
	return d
}

func putKeepsFirst() *double {
	d := new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		if _, ok, _ := d.Store.Get(ctx, key); ok {
			return nil
		}
		return d.Store.Put(ctx, key, record, lifetime)
	}
	return d
}

func putKeepsLifetime() *double {
	d := new(double)
	var lifetimes sync.Map
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		first, _ := lifetimes.LoadOrStore(key, lifetime)
		return d.Store.Put(ctx, key, record, first.(time.Duration))
	}
	return d
}

func putForever() *double {
	return putWithLifetime(func(time.Duration) time.Duration { return long })
}

func putBriefly() *double {
	return putWithLifetime(func(time.Duration) time.Duration { return 1 })
}

func putSecondsDown() *double {
	return putWithLifetime(func(d time.Duration) time.Duration { return d.Truncate(time.Second) })
}

func putZeroForever() *double {
	return putWithLifetime(func(d time.Duration) time.Duration {
		if d < time.Second {
			return long
		}
		return d
	})
}

func putOverflows() *double {
	return putWithLifetime(func(d time.Duration) time.Duration { return max(1, 2*d) })
}

func putWithLifetime(change func(time.Duration) time.Duration) *double {
	d := new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return d.Store.Put(ctx, key, record, change(lifetime))
	}
	return d
}

func takeLeaves() *double {
	d := new(double)
	d.take = d.Store.Get
	return d
}

func takeClears() *double {
	d := new(double)
	d.take = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok, err := d.Store.Get(ctx, key)
		if _, clearErr := d.Store.Clear(ctx); clearErr != nil {
			return nil, false, clearErr
		}
		return record, ok, err
	}
	return d
}

func takeIgnoresExpiry() *double {
	d := new(double)
	var records sync.Map
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		records.Store(key, bytes.Clone(record))
		return d.Store.Put(ctx, key, record, lifetime)
	}
	d.take = func(_ context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok := records.LoadAndDelete(key)
		if !ok {
			return nil, false, nil
		}
		return record.([]byte), true, nil
	}
	return d
}

func takeInSteps() *double {
	d := new(double)
	d.take = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok, err := d.Store.Get(ctx, key)
		if !ok || err != nil {
			return nil, false, err
		}
		time.Sleep(time.Millisecond)
		return record, true, d.Store.Delete(ctx, key)
	}
	return d
}

func deleteForgets() *double {
	d := new(double)
	d.delete = func(context.Context, reprise.StoreKey) error { return nil }
	return d
}

func deleteFails() *double {
	d := new(double)
	d.delete = func(ctx context.Context, key reprise.StoreKey) error {
		if _, ok, _ := d.Store.Take(ctx, key); !ok {
			return errors.New("no such record")
		}
		return nil
	}
	return d
}

func ignoresContext() *double {
	d := new(double)
	d.get = func(_ context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		return d.Store.Get(context.Background(), key)
	}
	return d
}

func pingIgnoresContext() *double {
	d := new(double)
	d.ping = func(context.Context) error { return nil }
	return d
}

// A getBatch is the method of a double.
type getBatch func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error))

// newGetter returns a double that gets batches by a method made of the right one.
func newGetter(change func(right getBatch) getBatch) *double {
	d := new(double)
	d.getBatch = change(d.getEach)
	return d
}

func getsForget() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			right(ctx, keys[1:], done)
		}
	})
}

func getsRepeat() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			right(ctx, keys, done)
			right(ctx, keys[:1], done)
		}
	})
}

func getsMixUp() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			right(ctx, keys, func(i int, record []byte, err error) { done(len(keys)-1-i, record, err) })
		}
	})
}

func getsOnce() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			seen := make(map[reprise.StoreKey]bool)
			right(ctx, keys, func(i int, record []byte, err error) {
				if seen[keys[i]] {
					record = nil
				}
				seen[keys[i]] = true
				done(i, record, err)
			})
		}
	})
}

func getsShare() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			shared := make(map[reprise.StoreKey][]byte)
			right(ctx, keys, func(i int, record []byte, err error) {
				if shared[keys[i]] == nil {
					shared[keys[i]] = record
				}
				done(i, shared[keys[i]], err)
			})
		}
	})
}

func getsIgnoreContext() *double {
	return newGetter(func(right getBatch) getBatch {
		return func(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
			right(context.WithoutCancel(ctx), keys, done)
		}
	})
}

// A putBatchOf is the method of a double.
type putBatchOf func(ctx context.Context, puts []reprise.StorePut, done func(int, error))

// newPutter returns a double that puts batches by a method made of the right one.
func newPutter(change func(right putBatchOf) putBatchOf) *double {
	d := new(double)
	d.batch = change(d.putEach)
	return d
}

func batchForgets() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			done(0, nil)
			right(ctx, puts[1:], func(i int, err error) { done(i+1, err) })
		}
	})
}

func batchHasOneLifetime() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			for i := range puts {
				puts[i].Lifetime = puts[0].Lifetime
			}
			right(ctx, puts, done)
		}
	})
}

func batchForever() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			for i := range puts {
				puts[i].Lifetime = max(puts[i].Lifetime, long)
			}
			right(ctx, puts, done)
		}
	})
}

func batchFailsAsAWhole() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			var failed error
			right(ctx, puts, func(_ int, err error) { failed = errors.Join(failed, err) })
			for i := range puts {
				done(i, failed)
			}
		}
	})
}

func batchRepeats() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			right(ctx, puts, done)
			done(0, nil)
		}
	})
}

func batchIgnoresContext() *double {
	return newPutter(func(right putBatchOf) putBatchOf {
		return func(ctx context.Context, puts []reprise.StorePut, done func(int, error)) {
			right(context.WithoutCancel(ctx), puts, done)
		}
	})
}

func partitionsAtRandom() *double {
	return &double{partition: rand.Text}
}

func partitionsHaveLongNames() *double {
	return &double{partition: func() string { return strings.Repeat("x", 256) }}
}

func putKeepsSlice() *double {
	d := new(double)
	var records sync.Map
	d.put = func(_ context.Context, key reprise.StoreKey, record []byte, _ time.Duration) error {
		records.Store(key, record)
		return nil
	}
	d.get = func(_ context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok := records.Load(key)
		if !ok {
			return nil, false, nil
		}
		return bytes.Clone(record.([]byte)), true, nil
	}
	return d
}

func getSharesSlice() *double {
	d := new(double)
	var records sync.Map
	d.get = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, ok, err := d.Store.Get(ctx, key)
		shared, _ := records.LoadOrStore(key, record)
		return shared.([]byte), ok, err
	}
	return d
}

func keysAreText() *double {
	d := new(double)
	cut := func(key reprise.StoreKey) (short reprise.StoreKey) {
		before, _, _ := bytes.Cut(key[:], []byte{0})
		copy(short[:], before)
		return short
	}
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return d.Store.Put(ctx, cut(key), record, lifetime)
	}
	d.get = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		return d.Store.Get(ctx, cut(key))
	}
	return d
}

func recordsAreText() *double {
	d := new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		before, _, _ := bytes.Cut(record, []byte{0})
		return d.Store.Put(ctx, key, before, lifetime)
	}
	return d
}

func recordsMixUp() *double {
	d := new(double)
	var mu sync.Mutex
	var last []byte
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		mu.Lock()
		last = bytes.Clone(record)
		mu.Unlock()
		time.Sleep(time.Microsecond)
		mu.Lock()
		defer mu.Unlock()
		return d.Store.Put(ctx, key, last, lifetime)
	}
	return d
}

func nodesAreAlone() *double {
	d := new(double)
	d.second = func() reprise.Store { return new(memory.Store) }
	return d
}

func nodesTakeInSteps() *double {
	d := new(double)
	d.second = func() reprise.Store {
		other := new(double)
		other.put, other.get, other.delete = d.Store.Put, d.Store.Get, d.Store.Delete
		other.take = func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
			record, ok, err := d.Store.Get(ctx, key)
			if !ok || err != nil {
				return nil, false, err
			}
			time.Sleep(time.Millisecond)
			return record, true, d.Store.Delete(ctx, key)
		}
		return other
	}
	return d
}

func restartsEmpty() *double {
	d := new(double)
	d.restart = func() reprise.Store { return new(double) }
	return d
}

// restartsFull comes back with all that was ever put.
func restartsFull() *double {
	d, after := new(double), new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return errors.Join(d.Store.Put(ctx, key, record, lifetime), after.Put(ctx, key, record, lifetime))
	}
	d.restart = func() reprise.Store { return after }
	return d
}

func restartsLifetimes() *double {
	d, after := new(double), new(double)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return errors.Join(d.Store.Put(ctx, key, record, lifetime), after.Put(ctx, key, record, long))
	}
	d.restart = func() reprise.Store { return after }
	return d
}

func eachLeavesOut() *double {
	d := new(double)
	d.each = func(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		first := true
		return d.Store.Each(ctx, func(key reprise.StoreKey, record []byte, expiry time.Time) bool {
			if first {
				first = false
				return true
			}
			return f(key, record, expiry)
		})
	}
	return d
}

func eachRepeats() *double {
	d := new(double)
	d.each = func(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		return d.Store.Each(ctx, func(key reprise.StoreKey, record []byte, expiry time.Time) bool {
			f(key, record, expiry)
			return f(key, record, expiry)
		})
	}
	return d
}

func eachWithoutExpiry() *double {
	d := new(double)
	d.each = func(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		return d.Store.Each(ctx, func(key reprise.StoreKey, record []byte, _ time.Time) bool {
			return f(key, record, time.Time{})
		})
	}
	return d
}

func eachShowsExpired() *double {
	d, shadow := new(double), new(memory.Store)
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		return errors.Join(d.Store.Put(ctx, key, record, lifetime), shadow.Put(ctx, key, record, long))
	}
	d.each = shadow.Each
	return d
}

func eachGoesOn() *double {
	d := new(double)
	d.each = func(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		return d.Store.Each(ctx, func(key reprise.StoreKey, record []byte, expiry time.Time) bool {
			f(key, record, expiry)
			return true
		})
	}
	return d
}

func eachIgnoresContext() *double {
	d := new(double)
	d.each = func(_ context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		return d.Store.Each(context.Background(), f)
	}
	return d
}

func eachLocks() *double {
	d := new(double)
	locked := false
	d.each = func(ctx context.Context, f func(reprise.StoreKey, []byte, time.Time) bool) error {
		locked = true
		defer func() { locked = false }()
		return d.Store.Each(ctx, f)
	}
	d.delete = func(ctx context.Context, key reprise.StoreKey) error {
		if locked {
			return errors.New("locked")
		}
		return d.Store.Delete(ctx, key)
	}
	return d
}

func countPuts() *double {
	d := new(double)
	puts := 0
	d.put = func(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
		puts++
		return d.Store.Put(ctx, key, record, lifetime)
	}
	d.count = func(context.Context) (int, error) { return puts, nil }
	return d
}

func sweepCountsNothing() *double {
	d := new(double)
	d.sweep = func(ctx context.Context) (int, error) {
		_, err := d.Store.Sweep(ctx)
		return 0, err
	}
	return d
}

func sweepRemovesAll() *double {
	d := new(double)
	d.sweep = d.Store.Clear
	return d
}

func pingFails() *double {
	d := new(double)
	d.ping = func(context.Context) error { return errors.New("no answer") }
	return d
}

func clearLeaves() *double {
	d := new(double)
	d.clear = func(ctx context.Context) (int, error) {
		var kept reprise.StoreKey
		var record []byte
		err := d.Store.Each(ctx, func(key reprise.StoreKey, r []byte, _ time.Time) bool {
			kept, record = key, r
			return false
		})
		n, clearErr := d.Store.Clear(ctx)
		return n, errors.Join(err, clearErr, d.Store.Put(ctx, kept, record, long))
	}
	return d
}

func clearCountsWrong() *double {
	d := new(double)
	d.clear = func(ctx context.Context) (int, error) {
		n, err := d.Store.Clear(ctx)
		return n - 1, err
	}
	return d
}

func livesBriefly() *double {
	var life uint64
	return &double{life: func() uint64 { life++; return life }}
}

func livesUnheard() *double { return &double{life: func() uint64 { return 2 }} }

func restartsAlive() *double { return &double{volatile: true} }

func clockStands() *double {
	now := time.Now()
	return &double{clock: func() (time.Time, bool) { return now, true }}
}

func clockUnknown() *double {
	return &double{clock: func() (time.Time, bool) { return time.Time{}, false }}
}

func followsSilently() *double {
	d := newTelling()
	<-d.notices
	return d
}

func tellsNoDeletes() *double {
	d := newTelling()
	d.delete = nil
	return d
}

func tellsNoTakes() *double {
	d := newTelling()
	d.take = nil
	return d
}
