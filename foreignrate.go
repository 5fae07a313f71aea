package reprise

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A foreignRate counts lookups of session IDs that no fleet key has made, and warns when they become more: then it is
// likely that a node has another fleet key. Some are always there, since anyone can send what he likes. Those that TLS 1.3 clients make
// up ([Offer.MayBeRandom]) do not count.
type foreignRate struct {
	count atomic.Uint64

	mu     sync.Mutex
	minute time.Time // when the minute began
	now    int       // how many in this minute
	before int       // how many in the minute before
	warned bool      // in this minute
}

// fewForeign is how many in a minute are not worth a warning.
const fewForeign = 60

// note counts one, and warns at most once a minute.
func (f *foreignRate) note(now time.Time, logger *slog.Logger) {
	f.count.Add(1)
	if n, rising := f.rising(now); rising {
		logger.Warn("reprise: more and more session IDs that no fleet key of this node has made; does a node have another fleet key?", "this minute", n)
	}
}

func (f *foreignRate) rising(now time.Time) (n int, rising bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if past := now.Sub(f.minute); past >= time.Minute {
		f.before = f.now
		if past >= 2*time.Minute {
			f.before = 0
		}
		f.minute, f.now, f.warned = now, 0, false
	}
	f.now++
	rising = !f.warned && f.now > max(fewForeign, 2*f.before)
	f.warned = f.warned || rising
	return f.now, rising
}
