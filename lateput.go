package reprise

import "time"

const (
	// secondDelete is how long after the first one a second delete follows, where a put may still be on its way: until then a store with
	// a connection for each has given up that of the put.
	secondDelete = 5 * time.Second
	// latestPut is how long a put that has failed is reckoned with.
	latestPut = time.Minute
	// maxLatePuts is how many are.
	maxLatePuts = 4096
)

// latePuts are the keys whose last put has failed, with the time of that. Its outcome is unknown: it may be carried out yet, after a delete of
// the key that has succeeded meanwhile. So that delete is made once more. All of it is under the lock of the queue.
type latePuts map[StoreKey]time.Time

// add notes a put that has failed.
func (l latePuts) add(key StoreKey, now time.Time) {
	if len(l) >= maxLatePuts {
		for key, failed := range l {
			if now.Sub(failed) > latestPut {
				delete(l, key)
			}
		}
	}
	if len(l) < maxLatePuts {
		l[key] = now
	}
}

// deleteAgain has a key that was deleted just now deleted once more, if a put of it may be on its way. A put that comes until then is a
// later one.
func (w *writeBehind) deleteAgain(key StoreKey) {
	failed, isLate := w.late[key]
	if !isLate || w.now().Sub(failed) > latestPut {
		return
	}
	time.AfterFunc(secondDelete, func() {
		home := w.partitions.of(key)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.late[key].Equal(failed) && !w.closed {
			delete(w.late, key)
			w.deleteIn(home, key)
		}
	})
}
