package storetest

import (
	"context"
	"time"

	"github.com/reprise-tls/reprise"
)

func checkIncarnation(c *checker) {
	s := c.open()
	incarnated := optional[reprise.Incarnated](c, s)
	key, record := newKey(), newRecord(200)
	c.put(s, key, record, long)
	c.want("TakeIncarnated", takeOf(incarnated), key, record)
	c.wantAbsent("a second TakeIncarnated", takeOf(incarnated), key)
	c.wantAbsent("Get after TakeIncarnated", s.Get, key)
	life := c.life(s, incarnated, key)
	if again := c.life(s, incarnated, key); again != life {
		c.fail("one take was in life %d, the next in %d", life, again)
	}
	c.awaitLife(incarnated, key, life)
}

func checkIncarnationRestart(c *checker) {
	if c.reopen == nil {
		c.Skip("the store does not outlive its process")
	}
	s := c.open()
	key := newKey()
	before := c.life(s, optional[reprise.Incarnated](c, s), key)
	promise, _ := s.(reprise.TakePromiser)
	durable := promise != nil && promise.TakePromise().Durable
	s = c.reopen(s)
	incarnated := optional[reprise.Incarnated](c, s)
	after := c.life(s, incarnated, key)
	if after == before && !durable {
		c.fail("a store whose take is not durable has gone on with life %d after a restart", before)
	}
	c.awaitLife(incarnated, key, after)
}

// takeOf returns the part of TakeIncarnated that is Take.
func takeOf(s reprise.Incarnated) lookup {
	return func(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
		record, _, ok, err := s.TakeIncarnated(ctx, key)
		return record, ok, err
	}
}

// life returns the life that a take of the key is made in.
func (c *checker) life(s reprise.Store, incarnated reprise.Incarnated, key reprise.StoreKey) uint64 {
	c.Helper()
	c.put(s, key, newRecord(200), long)
	_, life, ok, err := incarnated.TakeIncarnated(c.Context(), key)
	if err != nil || !ok {
		c.fail("TakeIncarnated: %v, %v", ok, err)
	}
	return life
}

// awaitLife waits until the store has heard of the life of the part that the key is in.
func (c *checker) awaitLife(s reprise.Incarnated, key reprise.StoreKey, want uint64) {
	c.Helper()
	got := s.Incarnation(key)
	for end := time.Now().Add(patience / 3); got != want; got = s.Incarnation(key) {
		if got == 0 || time.Now().After(end) {
			c.fail("Incarnation returned %d, takes are in life %d", got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func checkClock(c *checker) {
	s := optional[reprise.Clocked](c, c.open())
	begun, shown := time.Now(), c.clock(s)
	time.Sleep(1500 * time.Millisecond)
	shownLater := c.clock(s)
	if passed, told := time.Since(begun), shownLater.Sub(shown); (told - passed).Abs() > time.Second {
		c.fail("%v have passed, the clock has gone %v", passed, told)
	}
}

// clock waits until the store knows its clock, and returns what that shows.
func (c *checker) clock(s reprise.Clocked) time.Time {
	c.Helper()
	for end := time.Now().Add(patience / 3); ; time.Sleep(5 * time.Millisecond) {
		shown, ok := s.Clock(newKey())
		if ok {
			return shown
		}
		if time.Now().After(end) {
			c.fail("the clock is still not known after %v", patience/3)
		}
	}
}

func checkNotices(c *checker) {
	if c.second == nil {
		c.Skip("the store belongs to one process")
	}
	s := c.open()
	notifier := optional[reprise.Notifier](c, c.second(s))
	l := c.listen(notifier)
	if first := c.next(l); first.Kind != reprise.NoticesFollow {
		c.fail("the first notice was %v, not that removals are told from now on", first)
	}
	for _, key := range newKeys(20) {
		c.put(s, key, newRecord(200), long)
		c.remove(s, key)
		for c.next(l) != (reprise.Notice{Kind: reprise.NoticeRemoved, Key: key}) {
		}
	}
	l.cancel()
	c.prompt("Notices whose context is done", func() { <-l.ended })
}

// remove removes a record in one of the ways there are.
func (c *checker) remove(s reprise.Store, key reprise.StoreKey) {
	c.Helper()
	incarnated, ok := s.(reprise.Incarnated)
	var err error
	switch {
	case key[0]%3 == 0:
		err = s.Delete(c.Context(), key)
	case key[0]%3 == 1 && ok:
		_, _, _, err = incarnated.TakeIncarnated(c.Context(), key)
	default:
		_, _, err = s.Take(c.Context(), key)
	}
	if err != nil {
		c.fail("Delete or Take: %v", err)
	}
}

// A listener hears what a store tells.
type listener struct {
	notices chan reprise.Notice
	ended   chan struct{}
	cancel  context.CancelFunc
}

func (c *checker) listen(s reprise.Notifier) *listener {
	ctx, cancel := context.WithCancel(c.Context())
	l := &listener{make(chan reprise.Notice, 1000), make(chan struct{}), cancel}
	go func() {
		defer close(l.ended)
		s.Notices(ctx, func(n reprise.Notice) { l.notices <- n })
	}()
	return l
}

func (c *checker) next(l *listener) reprise.Notice {
	c.Helper()
	select {
	case n := <-l.notices:
		return n
	case <-time.After(patience / 3):
		c.fail("no notice came within %v", patience/3)
		panic("not reached")
	}
}
