package reprise

import "context"

// A storeLookup is a get under way.
type storeLookup struct {
	call *storeCall
	void bool // the key was taken or deleted since
}

// get returns the record of a key, as it will be once all is written.
func (w *writeBehind) get(ctx context.Context, key StoreKey) (record []byte, ok bool, err error) {
	w.mu.Lock()
	if e := w.entries[key]; e != nil {
		defer w.mu.Unlock()
		return e.want.record, e.want.isPut(), nil
	}
	lookup, err := w.lookup(key)
	w.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	record, ok, err = lookup.call.wait(ctx)

	w.mu.Lock()
	defer w.mu.Unlock()
	if lookup.void {
		return nil, false, nil
	}
	return record, ok, err
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

// voidAfter makes gets void that have begun while a take was under way.
func (w *writeBehind) voidAfter(key StoreKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.voidLookup(key)
}
