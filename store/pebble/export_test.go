package pebblestore

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// OpenFS is Open on another file system, with another time between attempts to open a failed store again.
func OpenFS(dir string, options Options, fs vfs.FS, retry time.Duration) (*Store, error) {
	return open(dir, options, fs, retry)
}

// Flush makes Pebble write its memory to tables.
func (s *Store) Flush() error {
	return s.scan(context.Background(), func(e *engine) error { return e.db.Flush() })
}

// Compact makes Pebble bring all records into their last level.
func (s *Store) Compact() error {
	return s.scan(context.Background(), func(e *engine) error {
		return e.db.Compact(context.Background(), allRecords.Start, allRecords.End, false)
	})
}
