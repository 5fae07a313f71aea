package reprise

import (
	"sync"
	"sync/atomic"
)

// A versionLock is a mutex whose data can be read without it, so that readers neither wait nor write to memory that
// others read. They note the version, read, and use what they have read if the version is still the same: then nobody held the
// lock meanwhile. All that they read must be atomic, as it may change under their eyes.
type versionLock struct {
	mu      sync.Mutex
	changes atomic.Uint64 // odd while locked
}

func (l *versionLock) Lock() {
	l.mu.Lock()
	l.changes.Add(1)
}

func (l *versionLock) Unlock() {
	l.changes.Add(1)
	l.mu.Unlock()
}

// version returns the present version, and whether there is one: not while the lock is held.
func (l *versionLock) version() (version uint64, ok bool) {
	version = l.changes.Load()
	return version, version%2 == 0
}

// is tells whether the lock has not been held since it had the version.
func (l *versionLock) is(version uint64) bool { return l.changes.Load() == version }
