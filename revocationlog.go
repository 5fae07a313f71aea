package reprise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// revocationInterval is how long after each other a node reads what was revoked, if nothing tells it to before.
	revocationInterval = time.Second
	// revocationPause is how long after each other it reads at least.
	revocationPause = 50 * time.Millisecond
	// revocationPatience is how long a node goes by what it has read last.
	revocationPatience = 10 * time.Second
	// maxRevokeAttempts is how often a revocation is tried while others come between.
	maxRevokeAttempts = 100
)

// A revocationLog keeps what a node knows of the revocations in step with what the store has of them. Both are joined whenever
// the store is read, and what either lacks is written: so a store that has lost some hears of them again from any node that knows.
type revocationLog struct {
	store  Swapper
	keys   func() *FleetKeys
	now    func() milliseconds
	logger *slog.Logger

	known atomic.Pointer[revocations] // not nil
	mu    sync.Mutex                  // held to replace known
	ahead atomic.Uint64               // the highest count that a session has captured and known did not have
	wake  chan struct{}               // has room for one

	settled settled // of sync alone
}

// settled is how things were when the store last had all that was known, and nothing else.
type settled struct {
	known *revocations
	logs  []storedLog
}

func (s *settled) is(known *revocations, logs []storedLog) bool {
	return s.known == known && slices.EqualFunc(s.logs, logs, func(a, b storedLog) bool {
		return a.key == b.key && bytes.Equal(a.value, b.value)
	})
}

func newRevocationLog(store Swapper, keys func() *FleetKeys, now func() milliseconds, logger *slog.Logger) *revocationLog {
	l := &revocationLog{store: store, keys: keys, now: now, logger: logger, wake: make(chan struct{}, 1)}
	l.known.Store(&revocations{isUnread: true})
	return l
}

// captured returns the count of the last revocation that is known; 0 without a log. If none was read yet it is lower than any, so that who
// captures it counts as revoked when the names of some are not known any more.
func (l *revocationLog) captured() revocationCount {
	if l == nil {
		return 0
	}
	return max(l.known.Load().last, 1)
}

// judge returns [Revoked] if the session's lineage was revoked, [StoreError] if that can't be told and must be, or else [Resumed].
func (l *revocationLog) judge(s *Session) Reason {
	if l == nil {
		return Resumed
	}
	known := l.known.Load()
	switch captured := s.profile.captured; {
	case known.isUnread && s.HasPeerCertificates():
		return StoreError
	case captured == known.last: // nothing was revoked since
		return Resumed
	case captured > known.last:
		l.sawAhead(captured)
	}
	if known.revokes(s, l.keys()) {
		return Revoked
	}
	return Resumed
}

// sawAhead notes that there was a revocation which is not known here: it was made a moment ago, or the store has lost it.
func (l *revocationLog) sawAhead(captured revocationCount) {
	for {
		ahead := l.ahead.Load()
		if uint64(captured) <= ahead {
			return
		}
		if l.ahead.CompareAndSwap(ahead, uint64(captured)) {
			break
		}
	}
	l.heed()
}

// heed makes the store be read soon. It does nothing without a log.
func (l *revocationLog) heed() {
	if l == nil {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// learn adds to what is known.
func (l *revocationLog) learn(r *revocations, isUnread bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known.Load().clone()
	known.join(r)
	if known.isUnread = isUnread; !known.same(l.known.Load()) {
		l.known.Store(known)
	}
}

// follow reads the store again and again, until ctx is done.
func (l *revocationLog) follow(ctx context.Context, timeout time.Duration) {
	patience := time.NewTimer(revocationPatience)
	defer patience.Stop()
	lost := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			lost = true
			l.learn(&revocations{}, true)
			l.logger.Warn("reprise: revocations can't be read; sessions with client certificates do not resume until they can")
		case <-l.wake:
		case <-time.After(revocationInterval):
		}
		err := l.sync(ctx, timeout)
		if err == nil {
			patience.Reset(revocationPatience)
		}
		if err == nil && lost {
			lost = false
			l.logger.Info("reprise: revocations can be read again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(revocationPause):
		}
	}
}

// sync reads the store, and writes what it lacks.
func (l *revocationLog) sync(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	logs, err := l.read(ctx)
	if err != nil {
		return err
	}
	known := l.known.Load()
	isBehind := revocationCount(l.ahead.Load()) > known.last
	if !isBehind && !known.isUnread && l.settled.is(known, logs) {
		return nil
	}
	_, err = l.try(ctx, logs, func(r *revocations) {
		if ahead := revocationCount(l.ahead.Load()); ahead > r.last { // the store has gone back, and nobody knows how far
			r.last = ahead
			r.begin(l.now())
		}
	})
	l.settled = settled{}
	if known := l.known.Load(); known.areIn(logs) {
		l.settled = settled{known, logs}
	}
	return err
}

// revoke revokes lineages by names.
func (l *revocationLog) revoke(ctx context.Context, r Revocation) error {
	for range maxRevokeAttempts {
		logs, err := l.read(ctx)
		if err != nil {
			return err
		}
		done, err := l.try(ctx, logs, func(known *revocations) { known.add(r.names(l.keys()), l.now()) })
		if done || err != nil {
			return err
		}
	}
	return errors.New("reprise: not revoked: others revoke all the time")
}

// try joins what was read with what is known here, changes that, and writes it where it is missing. done is false if somebody
// else has come between.
func (l *revocationLog) try(ctx context.Context, logs []storedLog, change func(*revocations)) (done bool, err error) {
	r := l.known.Load().clone()
	for i := range logs {
		if err := logs[i].open(l.logger); err != nil {
			return false, err
		}
		r.join(logs[i].has)
	}
	l.learn(r, false)
	if r.last == 0 { // a new store, or one that has lost all while no node knew
		r.begin(l.now())
	}
	change(r)
	done = true
	for _, log := range logs {
		swapped, err := log.write(ctx, l.store, r)
		if err != nil {
			return false, err
		}
		done = done && swapped
	}
	if done {
		l.learn(r, false)
	}
	return done, nil
}

// A storedLog is the log under one fleet key.
type storedLog struct {
	key   *fleetKey
	value []byte       // nil if there is none
	has   *revocations // when it was opened
}

// read reads the log under each fleet key.
func (l *revocationLog) read(ctx context.Context) (logs []storedLog, err error) {
	for _, key := range l.keys().keys {
		value, err := l.store.Value(ctx, key.revocationsPlace())
		if err != nil {
			return nil, err
		}
		logs = append(logs, storedLog{key: key, value: value})
	}
	return logs, nil
}

// open reads what is in the log. One that is damaged is as good as absent.
func (s *storedLog) open(logger *slog.Logger) error {
	has, ok, err := s.key.openRevocations(s.value)
	if err != nil {
		return err
	}
	if !ok {
		has = &revocations{}
		if len(s.value) > 0 {
			logger.Error("reprise: the revocations in the store are damaged, and written again")
		}
	}
	s.has = has
	return nil
}

// areIn reports whether each of the logs, opened, has what is known, and nothing else.
func (r *revocations) areIn(logs []storedLog) bool {
	return !slices.ContainsFunc(logs, func(log storedLog) bool { return log.has == nil || !log.has.equal(r) })
}

// write writes r, unless that is what the log has already.
func (s *storedLog) write(ctx context.Context, store Swapper, r *revocations) (swapped bool, err error) {
	if s.has.equal(r) {
		return true, nil
	}
	swapped, err = store.SwapValue(ctx, s.key.revocationsPlace(), s.value, s.key.sealRevocations(r))
	if err != nil {
		return false, fmt.Errorf("reprise: revocations not written: %w", err)
	}
	return swapped, nil
}
