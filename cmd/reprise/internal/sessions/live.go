package sessions

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
)

// A Live is the sessions of this process: those in its internal cache, and those in the store behind it.
type Live struct {
	Cache   *reprise.Cache
	Binding *reprise.StoreBinding
	Store   Stored
}

var _ Source = (*Live)(nil)

// maxIndex is how many sessions of the internal cache are indexed by their names at a time.
const maxIndex = 1 << 20

// All implements [Source]. With more than a million sessions in the internal cache it goes through cache and store
// several times, for a part of the names each, so that it takes little memory. Sessions that were made before are in the
// store by then, unless it is slow to take them.
func (l *Live) All(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		written, cancel := context.WithTimeout(ctx, listPatience)
		_ = l.Binding.Flush(written) // what the store has not, the cache has
		cancel()
		for _, part := range split(prefix, l.Cache.Stats().Number) {
			for entry, err := range l.part(ctx, part) {
				if !yield(entry, err) || err != nil {
					return
				}
			}
		}
	}
}

// listPatience is how long a list waits for the store to write what is queued.
const listPatience = 500 * time.Millisecond

// split divides the names that begin with prefix into parts of about maxIndex at most, if there are n names in all.
func split(prefix string, n int) []string {
	for range prefix {
		n /= 16
	}
	if n <= maxIndex {
		return []string{prefix}
	}
	var parts []string
	for _, digit := range "0123456789abcdef" {
		parts = append(parts, split(prefix+string(digit), n)...)
	}
	return parts
}

// part iterates over the stored sessions, those in the internal cache too among them, and then over those that are in
// the internal cache only. If the store fails, its error comes last.
func (l *Live) part(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		cached := l.cached(prefix)
		var storeErr error
		for entry, err := range l.Store.All(ctx, prefix) {
			if err != nil {
				storeErr = err
				break
			}
			if s := l.lookup(cached, entry.Session); s != nil {
				entry.Cached, entry.Details = true, details(s)
				delete(cached, entry.Session)
			}
			if !yield(entry, nil) {
				return
			}
		}
		if len(prefix) > Digits { // a store key, of a session that is not stored
			clear(cached)
		}
		for name := range cached {
			if s := l.lookup(cached, name); s != nil && !yield(fromSession(name, s), nil) {
				return
			}
		}
		if storeErr != nil {
			yield(Entry{}, storeErr)
		}
	}
}

// cached returns the IDs of the sessions in the internal cache whose names begin with prefix.
func (l *Live) cached(prefix string) map[string]reprise.SessionID {
	prefix = prefix[:min(len(prefix), Digits)]
	found := make(map[string]reprise.SessionID)
	l.Cache.All(func(s *reprise.Session) bool {
		if name := l.Cache.Handle(s.ID()); strings.HasPrefix(name, prefix) {
			found[name] = s.ID()
		}
		return true
	})
	return found
}

func (l *Live) lookup(cached map[string]reprise.SessionID, name string) *reprise.Session {
	id, ok := cached[name]
	if !ok {
		return nil
	}
	return l.Cache.Lookup(id)
}

// Remove implements [Source]. It returns when the store has deleted the session.
func (l *Live) Remove(ctx context.Context, digits string) (Entry, error) {
	entry, err := Find(ctx, l, digits)
	if err != nil {
		return entry, err
	}
	if entry.Stored {
		key, err := entry.key()
		if err != nil {
			return entry, err
		}
		if err := l.Binding.Delete(key); err != nil {
			return entry, err
		}
	}
	if s := l.lookup(l.cached(entry.Session), entry.Session); s != nil {
		l.Cache.Remove(s)
	}
	return entry, l.settle(ctx)
}

// settleTimeout is how long a store may take to write what is queued.
const settleTimeout = 10 * time.Second

// settle waits until the store has written what is queued.
func (l *Live) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := l.Binding.Flush(ctx); err != nil {
		return fmt.Errorf("done here, and not yet in the store: %w", err)
	}
	return nil
}

// Flush implements [Source].
func (l *Live) Flush(ctx context.Context, expiredOnly bool) (Flushed, error) {
	before := l.Cache.Stats().Number
	if expiredOnly {
		l.Cache.Flush(time.Now())
	} else {
		l.Cache.Flush(time.Time{})
	}
	cached := max(0, before-l.Cache.Stats().Number)
	if err := l.settle(ctx); err != nil { // what is queued would be put after the flush
		return Flushed{Cached: cached}, err
	}
	flushed, err := l.Store.Flush(ctx, expiredOnly)
	flushed.Cached = cached
	return flushed, err
}
