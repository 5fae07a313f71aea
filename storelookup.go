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

// A queuedGet is a get under way: of what is still to be put, or of what the store has.
type queuedGet struct {
	queue   *writeBehind
	session *Session     // still to be put
	lookup  *storeLookup // nil if there is nothing to wait for
}

// get begins to get what is stored under a key, as it will be once all is written.
func (w *writeBehind) get(key StoreKey) (queuedGet, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.entries[key]; e != nil {
		return queuedGet{queue: w, session: e.want.session}, nil
	}
	lookup, err := w.lookup(key)
	return queuedGet{queue: w, lookup: lookup}, err
}

// wait returns it. external makes a context, if there is something to wait for.
func (g *queuedGet) wait(external contextFunc) (stored, error) {
	if g.lookup == nil {
		return stored{session: g.session}, nil
	}
	ctx := context.Background()
	if g.lookup.call.Err() == nil {
		ctx = external(g.lookup.call.deadline)
	}
	got, err := g.lookup.call.wait(ctx)

	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	if g.lookup.void {
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
	call, err := w.calls.start(w.partitions.of(key), storeRequest{method: storeGet, key: key}, func() { w.endLookup(key, l) })
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
