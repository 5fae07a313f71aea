package redisstore_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// A slotLoad is two stores that put, get and take records in one slot of a cluster.
type slotLoad struct {
	t      *testing.T
	a, b   *redisstore.Store
	rounds atomic.Int64
}

// testSlotMovesUnderLoad moves a slot from primary to primary while two stores put, get and take records in it. No call fails, and of
// two takers at the same time one gets the record. Afterwards the stores work at once.
func testSlotMovesUnderLoad(t *testing.T, c *redistest.Cluster) {
	const prefix = "{moving}:" // one slot for all
	options := redisstore.Options{Prefix: prefix}
	l := &slotLoad{t: t, a: open(t, c.URL(), options), b: open(t, c.URL(), options)}
	stock := l.stock(200)

	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 6 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.round()
				}
			}
		})
	}
	work.Go(func() { // what was there before goes meanwhile
		for _, key := range stock {
			l.takeOnce(key)
			time.Sleep(5 * time.Millisecond)
		}
	})
	for i := range 4 {
		c.MoveSlot(prefix, c.Primaries[(i+1)%len(c.Primaries)])
		moved := time.Now()
		l.round()
		if took := time.Since(moved); took > recovery {
			t.Errorf("the stores work %v after the slot has moved", took)
		}
		time.Sleep(100 * time.Millisecond)
	}
	close(stop)
	work.Wait()
	var redirects string
	for _, s := range c.Primaries {
		redirects += s.Command("INFO", "errorstats")
	}
	t.Logf("%d records", l.rounds.Load())
	if l.rounds.Load() < 100 || !strings.Contains(redirects, "errorstat_ASK") || !strings.Contains(redirects, "errorstat_MOVED") {
		t.Errorf("nothing was redirected, or few records put: %s", redirects)
	}
}

// stock puts records, and returns their keys.
func (l *slotLoad) stock(n int) (keys []reprise.StoreKey) {
	for range n {
		var key reprise.StoreKey
		rand.Read(key[:])
		keys = append(keys, key)
		l.put(key)
	}
	return keys
}

func (l *slotLoad) put(key reprise.StoreKey) {
	if err := l.a.Put(context.Background(), key, key[:], time.Hour); err != nil {
		l.t.Errorf("Put: %v", err)
	}
}

// round puts two records by one store, gets them by the other, and lets both take one.
func (l *slotLoad) round() {
	keys := l.stock(2)
	key := keys[0]
	if got, err := getBatch(context.Background(), l.b, keys...); err != nil || string(got[0]) != string(key[:]) || string(got[1]) != string(keys[1][:]) {
		l.t.Errorf("GetBatch: %x, %v", got, err)
	}
	if got, ok, err := l.b.Get(context.Background(), key); !ok || err != nil || string(got) != string(key[:]) {
		l.t.Errorf("Get: %x, %v, %v", got, ok, err)
	}
	l.takeOnce(key)
	l.rounds.Add(1)
}

// takeOnce lets both stores take a record at the same time.
func (l *slotLoad) takeOnce(key reprise.StoreKey) {
	var taken atomic.Int64
	var takers sync.WaitGroup
	for _, s := range []*redisstore.Store{l.a, l.b} {
		takers.Go(func() {
			_, _, ok, err := s.TakeIncarnated(context.Background(), key)
			if err != nil {
				l.t.Errorf("Take: %v", err)
			}
			if ok {
				taken.Add(1)
			}
		})
	}
	takers.Wait()
	if n := taken.Load(); n != 1 {
		l.t.Errorf("a record was taken %d times", n)
	}
}
