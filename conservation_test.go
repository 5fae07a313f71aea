package reprise_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// conservationOperations is how many random operations TestConservation does: 10^7, and 10^8 in the long form.
func conservationOperations() int {
	switch {
	case os.Getenv("REPRISE_SOAK") != "":
		return 100_000_000
	case testing.Short() || raceEnabled:
		return 500_000
	}
	return 10_000_000
}

// Books note every residence that the test knows to have begun, until it ends. Each session of the test is made once
// and has a secret of its own, by which it is known.
type books struct {
	t    *testing.T
	mu   [64]sync.Mutex
	open [64]map[uint64]struct{}

	// Of sessions that need not enter the cache, and of which nobody is told whether they did, only numbers are noted.
	announced, removed, adoptedRemoved atomic.Uint64
}

// Marks of such sessions, as their ticket_age_add: those that the get callback made, and those of unconfirmed clients.
const (
	fromGet      = 1
	notConfirmed = 2
)

func (b *books) number(s *reprise.Session) (key uint64, page int) {
	key = binary.BigEndian.Uint64(s.Secret())
	return key, int(key % uint64(len(b.open)))
}

func (b *books) begin(s *reprise.Session) {
	if s.TicketAgeAdd() == notConfirmed {
		b.announced.Add(1)
		return
	}
	key, page := b.number(s)
	b.mu[page].Lock()
	defer b.mu[page].Unlock()
	if b.open[page] == nil {
		b.open[page] = make(map[uint64]struct{})
	}
	b.open[page][key] = struct{}{}
}

// end reports whether the residence was open.
func (b *books) end(s *reprise.Session) bool {
	switch s.TicketAgeAdd() {
	case fromGet:
		b.adoptedRemoved.Add(1)
		return true
	case notConfirmed:
		b.removed.Add(1)
		return true
	}
	key, page := b.number(s)
	b.mu[page].Lock()
	defer b.mu[page].Unlock()
	_, open := b.open[page][key]
	delete(b.open[page], key)
	return open
}

// TestConservation drives random operations from many goroutines, with callbacks that call the cache, panic and refuse,
// and checks that every residence, whether it began by a handshake, by Add or by adoption from the get
// callback, ends in exactly one remove call, and none before its new callback has returned. IDs are drawn from few, so that
// sessions meet under one ID all the time.
func TestConservation(t *testing.T) {
	const goroutines, ids = 16, 4096
	var seconds atomic.Int64
	seconds.Store(1_800_000_000)
	cache, err := reprise.New(reprise.Options{
		Now:                  func() time.Time { return time.Unix(seconds.Load(), 0) },
		UnconfirmedPerSource: -1,
		Logger:               discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	cache.SetSize(ids / 4)
	scope := (&server{Cache: cache, t: t}).accept(anyInfo).Scope()
	b := &books{t: t}

	randomID := func() reprise.SessionID {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], rand.Uint32N(ids))
		id, _ := reprise.MakeSessionID(raw[:])
		return id
	}
	makeSession := func(id reprise.SessionID, ageAdd uint32) *reprise.Session {
		p := anyParams()
		p.ID, p.Created, p.Timeout = id, time.Unix(seconds.Load(), 0), time.Duration(1+rand.IntN(300))*time.Second
		p.SingleUse, p.TicketAgeAdd = rand.IntN(8) == 0, ageAdd
		p.Scope, p.ServerName = scope, anyInfo.ServerName
		s, err := reprise.NewSession(p)
		if err != nil {
			panic(err)
		}
		return s
	}
	removeAny := func() {
		if s := cache.Lookup(randomID()); s != nil {
			cache.Remove(s)
		}
	}

	cache.SetGenerateID(func(*reprise.Cache) (reprise.SessionID, error) { return randomID(), nil })
	cache.SetNewCallback(func(c *reprise.Cache, s *reprise.Session) bool {
		switch rand.IntN(8) {
		case 0:
			removeAny()
		case 1:
			c.Remove(s)
		case 2:
			if s.TicketAgeAdd() != notConfirmed { // else the number of those that had no room would not tell enough
				return false
			}
		case 3:
			b.begin(s)
			panic("after the session was stored") // counts as true
		}
		b.begin(s)
		return true
	})
	cache.SetRemoveCallback(func(c *reprise.Cache, s *reprise.Session, why reprise.Removal, resident bool) {
		switch {
		case !resident:
		case !b.end(s):
			t.Errorf("remove call (%v) without a residence, or before the new callback had returned, or the second one", why)
		}
		switch rand.IntN(32) {
		case 0:
			c.Flush(time.Unix(seconds.Load()-1, 0))
		case 1:
			removeAny()
		case 2:
			panic("in the remove callback")
		}
	})
	cache.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
		if rand.IntN(2) == 0 {
			return nil, nil
		}
		return makeSession(id, fromGet), nil
	})

	operate := func() {
		switch op := rand.IntN(1000); {
		case op < 400:
			conn, _ := cache.Accept(t.Context(), anyInfo)
			p, isConfirmed := anyParams(), rand.IntN(2) == 0
			if !isConfirmed {
				p.TicketAgeAdd = notConfirmed
			}
			_, _ = conn.NewSession(p, nil) // refused while the random ID is in use
			conn.Complete(isConfirmed)
		case op < 700:
			conn, _ := cache.Accept(t.Context(), anyInfo)
			s, reason := conn.Lookup(randomID().Bytes(), anyOffer)
			if reason == reprise.Resumed && conn.Take(s) == reprise.Resumed {
				conn.Resumed(s)
			}
			conn.Complete(rand.IntN(2) == 0)
			conn.End(reprise.Ending{CloseNotifySent: rand.IntN(4) > 0, FatalAlert: rand.IntN(16) == 0})
		case op < 800:
			s := makeSession(randomID(), 0)
			b.begin(s)
			if err := cache.Add(s); err != nil {
				t.Error(err)
			}
		case op < 900:
			removeAny()
		case op < 990:
			cache.Forget(randomID())
		case op < 992:
			seconds.Add(20)
		default:
			cache.SetSize(ids/8 + rand.IntN(ids/4))
		}
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range conservationOperations() / goroutines {
				operate()
			}
		})
	}
	wg.Wait()
	cache.Close()

	left := 0
	for i := range b.open {
		left += len(b.open[i])
	}
	st := cache.Stats()
	if left != 0 {
		t.Errorf("%d residences never ended in a remove call", left)
	}
	if st.Adopted == 0 || st.Adopted != b.adoptedRemoved.Load() {
		t.Errorf("%d sessions adopted, %d removed", st.Adopted, b.adoptedRemoved.Load())
	}
	if announced := b.announced.Load(); announced == 0 || announced-st.NoRoom != b.removed.Load() {
		t.Errorf("%d unconfirmed sessions announced, for %d no room, %d removed", announced, st.NoRoom, b.removed.Load())
	}
	if st.Number != 0 || st.Unconfirmed != 0 {
		t.Errorf("%d sessions left after Close, %d of them unconfirmed", st.Number, st.Unconfirmed)
	}
	t.Logf("stats: %+v", st)
}
