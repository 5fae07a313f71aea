package reprise_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// TestEarlyDataIsForSingleUse: a session allows early data only if it will be taken everywhere and for good, and then it is for single use.
func TestEarlyDataIsForSingleUse(t *testing.T) {
	s := newServer(t, reprise.Options{})
	p := anyParams()
	p.MaxEarlyData = 1
	if made := s.fullWith(anyInfo, p); made.MaxEarlyData() != 0 || made.SingleUse() {
		t.Errorf("without a take callback: early data %d, single use %v", made.MaxEarlyData(), made.SingleUse())
	}
	s.SetTakeCallback(takeAll)
	if made := s.fullWith(anyInfo, p); made.MaxEarlyData() != 1 || !made.SingleUse() {
		t.Errorf("with a take callback: early data %d, single use %v", made.MaxEarlyData(), made.SingleUse())
	}
	p.ID, p.Created = s.full().ID(), s.now
	if other, err := reprise.NewSession(p); err != nil || !other.SingleUse() {
		t.Errorf("of other software: single use %v, %v", other.SingleUse(), err)
	}
}

// takeAll is a take callback that always wins.
func takeAll(context.Context, *reprise.Session) (bool, error) { return true, nil }

// TestMayAcceptEarlyData: not without a take that holds everywhere, and not with a session whose age can't be told.
func TestMayAcceptEarlyData(t *testing.T) {
	s := newServer(t, reprise.Options{})
	p := anyParams()
	p.MaxEarlyData = 1
	s.SetTakeCallback(takeAll)
	session, without := s.fullWith(anyInfo, p), s.full()
	s.SetTakeCallback(nil)
	if s.MayAcceptEarlyData(session) {
		t.Error("accepted without a take callback")
	}
	s.SetTakeCallback(takeAll)
	made := s.now
	for _, test := range []struct {
		passed time.Duration
		want   bool
	}{
		{-5 * time.Minute, false},
		{-10*time.Second - time.Millisecond, false},
		{-10 * time.Second, true},
		{0, true},
		{5 * time.Minute, true},
	} {
		s.now = made.Add(test.passed)
		if s.MayAcceptEarlyData(session) != test.want {
			t.Errorf("%v after it was made: want %v", test.passed, test.want)
		}
		if s.MayAcceptEarlyData(without) {
			t.Error("accepted with a session that was not made for them")
		}
		s.expectOffer(without, reprise.Resumed)
	}
}

// A clockedStore promises all of its take, and has a clock.
type clockedStore struct {
	memory.Store
	ahead   atomic.Int64 // of the real time
	unknown atomic.Bool
}

func (s *clockedStore) TakePromise() reprise.TakePromise {
	return reprise.TakePromise{Atomic: true, Durable: true}
}

func (s *clockedStore) Clock(reprise.StoreKey) (time.Time, bool) {
	return time.Now().Add(time.Duration(s.ahead.Load())), !s.unknown.Load()
}

// TestClockOfTheStore: a node makes and accepts early data only while its clock agrees with the store's, to 5 seconds either way, and says
// so once. That a take callback is put around the binding's changes nothing.
func TestClockOfTheStore(t *testing.T) {
	var log bytes.Buffer
	c, err := reprise.New(reprise.Options{Keys: reprise.RandomFleetKeys(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	store := &clockedStore{}
	b, err := reprise.BindStore(c, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	s := &server{Cache: c, t: t}
	p := anyParams()
	p.MaxEarlyData = 1
	early := s.fullWith(anyInfo, p)

	expect := func(what string, want bool) {
		t.Helper()
		if c.MayAcceptEarlyData(early) != want {
			t.Errorf("%s: accepted %v", what, !want)
		}
		if made := s.fullWith(anyInfo, p); (made.MaxEarlyData() > 0) != want || made.SingleUse() != want {
			t.Errorf("%s: made %v, for single use %v", what, made.MaxEarlyData() > 0, made.SingleUse())
		}
	}
	expect("one clock", true)
	for _, step := range []struct {
		ahead time.Duration
		want  bool
		lines int
	}{
		{4 * time.Second, true, 0},
		{-4 * time.Second, true, 0},
		{6 * time.Second, false, 1},
		{5 * time.Minute, false, 1},
		{-5 * time.Minute, false, 1},
		{0, true, 1},
		{-6 * time.Second, false, 1},
		{time.Second, true, 1},
	} {
		store.ahead.Store(int64(step.ahead))
		expect(step.ahead.String(), step.want)
		if lines := strings.Count(log.String(), "clock"); lines != step.lines {
			t.Errorf("%v: %d lines in the log, want %d:\n%s", step.ahead, lines, step.lines, &log)
		}
	}
	store.unknown.Store(true)
	expect("unknown", false)

	c.SetTakeCallback(takeAll)
	expect("unknown, with a take callback of the application", false)
	store.unknown.Store(false)
	expect("known, with a take callback of the application", true)
}
