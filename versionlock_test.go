package reprise_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// TestLookupsAreWhole: lookups, which hold no lock, find a session as it was added, or none, however often another one
// takes its place.
func TestLookupsAreWhole(t *testing.T) {
	rounds := 100_000
	if raceEnabled {
		rounds = 5_000
	}
	c, err := reprise.New(reprise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := reprise.MakeSessionID([]byte("the only one"))
	sessions := make([]*reprise.Session, 4)
	for i := range sessions {
		p := anyParams()
		p.ID = id
		p.TicketAgeAdd = uint32(i)
		p.Secret = bytes.Repeat([]byte{byte(i)}, 48)
		p.Lineage.ID = [16]byte(p.Secret)
		p.Created = time.Unix(2_000_000_000+int64(i), 0)
		p.ServerName = []string{"a", "b", "c", "d"}[i] + ".example"
		if sessions[i], err = reprise.NewSession(p); err != nil {
			t.Fatal(err)
		}
	}
	var done atomic.Bool
	var found atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var s reprise.Session
			for !done.Load() {
				if !c.LookupInto(id, &s) {
					continue
				}
				found.Add(1)
				if want := sessions[s.TicketAgeAdd()]; s.ID() != id || !bytes.Equal(s.Secret(), want.Secret()) ||
					s.Lineage() != want.Lineage() || s.Created() != want.Created() || s.ServerName() != want.ServerName() {
					t.Error("found a mixture of two sessions")
					return
				}
			}
		})
	}
	for i := range rounds {
		if err := c.Add(sessions[i%len(sessions)]); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	readers.Wait()
	if found.Load() == 0 {
		t.Error("no lookup has found anything")
	}
}
