package redisstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// trust is how long what a sentinel has told counts.
	trust = heartbeat + heartbeatTimeout
	// remembrance is how long a sentinel counts that is not heard: one of the others may have lost its memory, and know of none.
	remembrance = 5 * time.Minute
)

// A sentinelReport is what one sentinel has told.
type sentinelReport struct {
	at      time.Time
	id      string // of the sentinel, which may have several addresses
	primary string // address
	epoch   uint64 // of the configuration that names it
	others  []string
}

// A namedPrimary is the primary that enough sentinels name.
type namedPrimary struct {
	address string
	until   time.Time // when they would have to name it again
}

func (r *sentinelReport) isFresh(now time.Time) bool { return now.Sub(r.at) < trust }

// judgeReports returns the primary, if so many sentinels are heard now that there is no other.
func judgeReports(reports []*sentinelReport, now time.Time) (*namedPrimary, error) {
	heard := make(map[string]*sentinelReport) // by ID
	known := make(map[string]bool)            // IDs
	all := 1                                  // as many as any knows
	for _, r := range reports {
		if now.Sub(r.at) < remembrance {
			known[r.id] = true
		}
		if !r.isFresh(now) {
			continue
		}
		all = max(all, 1+len(r.others))
		if before := heard[r.id]; before == nil || before.at.Before(r.at) {
			heard[r.id] = r
		}
	}
	all = max(all, len(known))
	half := (all + 1) / 2
	switch {
	case len(heard) == 0:
		return nil, fmt.Errorf("%w: none has answered", errFewSentinels)
	case len(heard) < half:
		return nil, fmt.Errorf("%w: %d of %d have answered, want %d", errFewSentinels, len(heard), all, half)
	}
	address, err := newest(heard, half)
	if err != nil {
		return nil, err
	}
	var times []time.Time
	for _, r := range heard {
		times = append(times, r.at)
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return &namedPrimary{address, times[half-1].Add(trust)}, nil
}

// newest returns the primary of the highest epoch. Where several have that, since sentinels may know a server by several addresses, it is the only one that
// half of them name.
func newest(heard map[string]*sentinelReport, half int) (address string, err error) {
	var epoch uint64
	for _, r := range heard {
		epoch = max(epoch, r.epoch)
	}
	votes := make(map[string]int)
	for _, r := range heard {
		if r.epoch == epoch {
			votes[r.primary]++
		}
	}
	names := slices.Sorted(maps.Keys(votes))
	if len(names) == 1 {
		return names[0], nil
	}
	named := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return votes[name] < half })
	if len(named) != 1 {
		return "", fmt.Errorf("%w: they name %s", errFewSentinels, strings.Join(names, " and "))
	}
	return named[0], nil
}

var (
	errFewSentinels = errors.New("redisstore: too few sentinels name the same primary")
	errReplaced     = errors.New("redisstore: the sentinels name another primary, which was not reached")
)

// isUnnamed reports whether it is an error that the sentinels do not name a server as the primary.
func isUnnamed(err error) bool { return errors.Is(err, errFewSentinels) || errors.Is(err, errReplaced) }
