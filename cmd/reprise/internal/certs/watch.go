package certs

import (
	"context"
	"os"
	"slices"
	"time"
)

// PollInterval is how often a [Watcher] looks at its files, if nothing else is said.
const PollInterval = 2 * time.Second

// A Watcher sees when files change. It looks at what a path leads to, so it sees a symbolic link that was pointed
// elsewhere. It polls, because notices of the kernel miss just that, and network file systems.
type Watcher struct {
	files []string
	seen  []stamp
}

// Watch returns a Watcher that knows the state of files as it is now. Make it before the files are read, so that no
// change is missed.
func Watch(files []string) *Watcher {
	return &Watcher{files, stamps(files)}
}

// Run calls changed whenever one of the files has another time of modification or size than before, until ctx is done.
func (w *Watcher) Run(ctx context.Context, interval time.Duration, changed func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := stamps(w.files)
		if !slices.Equal(w.seen, now) {
			w.seen = now
			changed()
		}
	}
}

// A stamp tells one state of a file from another; the zero stamp is a file that can't be seen.
type stamp struct {
	modified int64
	size     int64
}

func stamps(files []string) []stamp {
	all := make([]stamp, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			all[i] = stamp{info.ModTime().UnixNano(), info.Size()}
		}
	}
	return all
}
