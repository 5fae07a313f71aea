package reprise

import "context"

// stored is what there is under a key: a session that is still to be put, or a record, or neither.
type stored struct {
	session *Session
	record  []byte
}

// A storeLookup is a get under way.
type storeLookup struct {
	call *storeCall
	void bool // the key was taken or deleted since
}

// get returns what is stored under a key, as it will be once all is written.
func (w *writeBehind) get(ctx context.Context, key StoreKey) (stored, error) {
	w.mu.Lock()
	if e := w.entries[key]; e != nil {
		defer w.mu.Unlock()
		return stored{session: e.want.session}, nil
	}
	lookup, err := w.lookup(key)
	w.mu.Unlock()
	if err != nil {
		return stored{}, err
	}
	got, err := lookup.call.wait(ctx)

	w.mu.Lock()
	defer w.mu.Unlock()
	if lookup.void {
		return stored{}, nil
	}
	return got, err
}

// lookup returns the get of a key that is under way, or begins one.
func (w *writeBehind) lookup(key StoreKey) (*storeLookup, error) {
	if under := w.lookups[key]; under != nil {
		w.counts.GetsShared++
		return under, nil
	}
	l := &storeLookup{}
	call, err := w.calls.start(storeRequest{method: storeGet, key: key}, func() { w.endLookup(key, l) })
	if err != nil {
		return nil, err
	}
	l.call = call
	w.lookups[key] = l
	return l, nil
}

func (w *writeBehind) endLookup(key StoreKey, l *storeLookup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lookups[key] == l {
		delete(w.lookups, key)
	}
}

func (w *writeBehind) voidLookup(key StoreKey) {
	if l := w.lookups[key]; l != nil {
		l.void = true
		delete(w.lookups, key)
	}
}

// dropLookup lets no other get share the call of one that is under way. Whether its result is void is for who began it to
// judge.
func (w *writeBehind) dropLookup(key StoreKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lookups, key)
}

// voidAfter makes gets void that have begun while a take was under way.
func (w *writeBehind) voidAfter(key StoreKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.voidLookup(key)
}
