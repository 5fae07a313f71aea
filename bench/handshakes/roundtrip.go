package main

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchRecord is as long as the record of a session.
var benchRecord = strings.Repeat("x", 300)

// roundTrip makes bare GETs of a record, so many at a time, each worker on a connection of its own, and returns the median.
func roundTrip(redis string, calls, concurrency int) (time.Duration, error) {
	address := strings.TrimPrefix(redis, "redis://")
	var next atomic.Int64
	var workers sync.WaitGroup
	times := make([]time.Duration, calls)
	errs := make(chan error, concurrency)
	for range concurrency {
		workers.Go(func() {
			errs <- getAgain(address, func(took time.Duration) (more bool) {
				i := int(next.Add(1)) - 1
				if i < calls {
					times[i] = took
				}
				return i < calls
			})
		})
	}
	workers.Wait()
	for range concurrency {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	slices.Sort(times)
	return times[calls/2], nil
}
