package bench

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// internalCacheSizes are the numbers of sessions that the internal cache is measured with.
var internalCacheSizes = []int{20_000, 1_000_000, 10_000_000}

// sessionID returns the i-th ID: as good as random, and not kept anywhere.
func sessionID(i int) (id [32]byte) {
	source := rand.NewPCG(uint64(i), 0x5eed)
	for j := 0; j < len(id); j += 8 {
		binary.LittleEndian.PutUint64(id[j:], source.Uint64())
	}
	return id
}

func fillCache(b *testing.B, n int) *reprise.Cache {
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		b.Fatal(err)
	}
	cache.SetSize(0)
	secret := make([]byte, 32)
	created := time.Now()
	for i := range n {
		raw := sessionID(i)
		id, _ := reprise.MakeSessionID(raw[:])
		copy(secret, raw[:])
		s, err := reprise.NewSession(reprise.SessionParams{
			ID: id, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: secret,
			Created: created.Add(time.Duration(i%7_200_000) * time.Millisecond), ServerName: fmt.Sprintf("www%d.example", i%100),
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := cache.Add(s); err != nil {
			b.Fatal(err)
		}
	}
	return cache
}

// resident returns the process's resident memory in bytes.
func resident(b *testing.B) int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("resident memory is read from /proc: ", err)
	}
	var size, pages int
	if _, err := fmt.Sscan(strings.TrimSpace(string(statm)), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// collect makes a full garbage collection and returns the CPU time of the process meanwhile, as the kernel counts it: the
// runtime's own metrics count the time too in which a core had other work.
func collect(b *testing.B) time.Duration {
	before := cpu(b)
	runtime.GC()
	return cpu(b) - before
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkInternalCacheMemory measures the process memory of a session, and the CPU of a full garbage collection. An
// operation is the insertion of one session.
func BenchmarkInternalCacheMemory(b *testing.B) {
	for _, n := range internalCacheSizes {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			for b.Loop() {
				debug.FreeOSMemory()
				before := resident(b)
				cache := fillCache(b, n)
				grown := resident(b) - before
				debug.FreeOSMemory()
				settled := resident(b) - before
				runtime.GC()
				b.ReportMetric(float64(collect(b).Microseconds())/1000, "GC-CPU-ms")
				b.ReportMetric(float64(grown)/float64(n), "B/session-while-filling")
				b.ReportMetric(float64(settled)/float64(n), "B/session")
				runtime.KeepAlive(cache)
			}
		})
	}
}

// BenchmarkLookup compares a lookup into the caller's memory with one in a bare map of the same size, and with one in a map that says
// where in a slice a session lies, which is copied too. They take turns, a few milliseconds each, since the speed of a machine's
// memory changes with what its neighbours do: the ratios are medians of those of each turn. The IDs come in random order, each of
// them once before any comes again, and are ready before the clock runs. An operation is a turn of all.
func BenchmarkLookup(b *testing.B) {
	for _, n := range internalCacheSizes {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			t := newLookupTables(n, b)
			var cache, bare, copying turns
			for b.Loop() {
				cache.take(n, func(i int, into *lookupMemory) bool { return t.cache.LookupInto(t.ids[i], &into.session) })
				bare.take(n, func(i int, _ *lookupMemory) bool { _, ok := t.bare[t.keys[i]]; return ok })
				copying.take(n, func(i int, into *lookupMemory) bool {
					at, ok := t.bare[t.keys[i]]
					into.bytes = t.sessions[at]
					return ok
				})
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(cache), "ns/lookup")
			b.ReportMetric(median(bare), "ns/map")
			b.ReportMetric(median(copying), "ns/map-and-copy")
			b.ReportMetric(median(cache.by(bare)), "lookup/map")
			b.ReportMetric(median(cache.by(copying)), "lookup/map-and-copy")
		})
	}
}

// lookupTables are what lookups are made in, and what is looked up: the same as ids and as keys.
type lookupTables struct {
	cache    *reprise.Cache
	bare     map[[32]byte]uint32
	sessions [][sessionLength]byte
	ids      []reprise.SessionID
	keys     [][32]byte
}

func newLookupTables(n int, b *testing.B) *lookupTables {
	t := &lookupTables{
		cache:    fillCache(b, n),
		bare:     make(map[[32]byte]uint32, n),
		sessions: make([][sessionLength]byte, n),
		ids:      make([]reprise.SessionID, n),
		keys:     make([][32]byte, n),
	}
	for i, j := range rand.Perm(n) {
		t.keys[i] = sessionID(j)
		t.ids[i], _ = reprise.MakeSessionID(t.keys[i][:])
		t.bare[t.keys[i]] = uint32(j)
		t.sessions[j][0] = 1 // now it has memory of its own
	}
	runtime.GC() // none while the clock runs
	return t
}

// A lookupMemory is what lookups copy into.
type lookupMemory struct {
	session reprise.Session
	bytes   [sessionLength]byte
}

// sessionLength is how many bytes a session has.
const sessionLength = 192

// turns are the times of a lookup in each turn, in nanoseconds.
type turns []float64

// turnLength is how many lookups each goroutine makes in a turn.
const turnLength = 20_000

// take takes a turn, with as many goroutines as there are processors.
func (t *turns) take(n int, lookup func(i int, into *lookupMemory) bool) {
	var work sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	begun := time.Now()
	for range workers {
		work.Go(func() {
			var into lookupMemory
			i := rand.IntN(n)
			for range turnLength {
				if i++; i >= n {
					i = 0
				}
				if !lookup(i, &into) {
					panic("session not found")
				}
			}
		})
	}
	work.Wait()
	*t = append(*t, float64(time.Since(begun))/float64(workers*turnLength))
}

// by divides each turn by that of another kind.
func (t turns) by(other turns) (ratios turns) {
	for i := range t {
		ratios = append(ratios, t[i]/other[i])
	}
	return ratios
}

func median(t turns) float64 {
	t = slices.Clone(t)
	slices.Sort(t)
	return t[len(t)/2]
}

// BenchmarkAddToFullCache measures the entry of a session that evicts another one.
func BenchmarkAddToFullCache(b *testing.B) {
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		b.Fatal(err)
	}
	sessions := make([]*reprise.Session, 2*reprise.DefaultSize)
	for i := range sessions {
		raw := sessionID(i)
		id, _ := reprise.MakeSessionID(raw[:])
		sessions[i], err = reprise.NewSession(reprise.SessionParams{
			ID: id, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: raw[:],
			Created: time.Now().Add(time.Duration(rand.IntN(7200)) * time.Second), ServerName: fmt.Sprintf("www%d.example", i%100),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := cache.Add(sessions[i%len(sessions)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkAccept measures the beginning of a connection.
func BenchmarkAccept(b *testing.B) {
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cache.Accept(b.Context(), reprise.ConnectionInfo{ServerName: "www.example"}); err != nil {
			b.Fatal(err)
		}
	}
}
