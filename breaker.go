package reprise

import (
	"context"
	"sync"
	"time"
)

// A BreakerState says whether a store is asked.
type BreakerState uint8

const (
	// BreakerClosed: the store answers, and is asked. The zero value.
	BreakerClosed BreakerState = iota
	// BreakerOpen: the store has failed several times in a row and is not asked; handshakes go on in full without delay.
	BreakerOpen
	// BreakerHalfOpen: one probe is under way, which decides between the two others.
	BreakerHalfOpen
)

// String returns "closed", "open" or "half-open".
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	case BreakerHalfOpen:
		return "half-open"
	default:
		return "invalid"
	}
}

// MarshalText implements [encoding.TextMarshaler] with [BreakerState.String].
func (s BreakerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	// breakerThreshold is how many failures in a row open the breaker.
	breakerThreshold = 5
	// firstBreakerPause is how long the breaker is open before its first probe: the store may have stood still for no longer than
	// the calls could wait. Each further pause is twice as long.
	firstBreakerPause = 50 * time.Millisecond
	// breakerPause is the longest one, so that a store that is back is used again within that and the time that a call may take. The
	// first probe of a cluster that has lost a primary may be what tells its client to look again which servers there are.
	breakerPause = time.Second / 2
)

// A breaker keeps handshakes from waiting for a dead store. The failures that open it are those of calls that handshakes
// wait for; what closes it is a probe of its own, so that no handshake is spent on trying. Why it is not a library:
// docs/decisions/0004-store-binding.md.
type breaker struct {
	ctx     context.Context // ends the probing
	probe   func() error
	changed func(to BreakerState, why error) // called with no lock held; why is the failure that has opened it

	mu        sync.Mutex
	state     BreakerState
	failures  int // in a row, while closed
	opened    uint64
	recovered chan struct{} // while not closed: closed when it is again
	ended     bool
	probing   sync.WaitGroup
}

// record notes how a call ended. Calls that end after the breaker has opened say nothing new.
func (b *breaker) record(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state != BreakerClosed || b.ended:
	case err == nil:
		b.failures = 0
	default:
		if b.failures++; b.failures >= breakerThreshold {
			b.open(err)
		}
	}
}

func (b *breaker) open(why error) {
	b.state = BreakerOpen
	b.opened++
	b.recovered = make(chan struct{})
	b.probing.Go(func() { b.probeUntilClosed(why) })
}

func (b *breaker) probeUntilClosed(why error) {
	b.changed(BreakerOpen, why)
	for pause := firstBreakerPause; ; pause = min(2*pause, breakerPause) {
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(pause):
		}
		b.set(BreakerHalfOpen)
		if b.probe() == nil {
			b.close()
			b.changed(BreakerClosed, nil)
			return
		}
		b.set(BreakerOpen)
	}
}

func (b *breaker) set(s BreakerState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = s
}

func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = BreakerClosed
	b.failures = 0
	close(b.recovered)
	b.recovered = nil
}

// closed reports whether calls may be made.
func (b *breaker) closed() bool { return b.closedAgain() == nil }

// closedAgain returns nil if calls may be made, else a channel that is closed when they may.
func (b *breaker) closedAgain() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.recovered
}

// status returns the state and how often the breaker has opened.
func (b *breaker) status() (BreakerState, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.opened
}

// wait ends the breaker's work, after the context has ended.
func (b *breaker) wait() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.probing.Wait()
}
