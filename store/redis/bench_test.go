package redisstore_test

import (
	"context"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// BenchmarkNotice measures what it costs a node to be told of a put of another one: CPU time of its whole process.
func BenchmarkNotice(b *testing.B) {
	benchmark, err := exec.LookPath("redis-benchmark")
	if err != nil {
		b.Skip("no redis-benchmark")
	}
	server := redistest.Start(b, "appendonly no")
	s, err := redisstore.Open(server.URL(), redisstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	cache, err := reprise.New(reprise.Options{Keys: reprise.RandomFleetKeys()})
	if err != nil {
		b.Fatal(err)
	}
	binding, err := reprise.BindStore(cache, s, reprise.StoreOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer binding.Close(context.Background())
	for !binding.Stats().Following {
		time.Sleep(time.Millisecond)
	}
	begun := cpuTime(b)
	b.ResetTimer()
	puts := exec.Command(benchmark, "-p", server.Port(), "-n", strconv.Itoa(b.N), "-r", "1000000000", "-c", "4", "-P", "32", // nodes put in batches
		"SET", redisstore.DefaultPrefix+strings.Repeat("0", 52)+"__rand_int__", strings.Repeat("x", 200), "PX", "3600000")
	if err := puts.Run(); err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); binding.Stats().Notices < uint64(b.N) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64((cpuTime(b)-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(binding.Stats().Notices)/float64(b.N), "notices/op")
}

// BenchmarkReach measures how long it takes from the call that removes a session, or revokes a lineage, until another node does not resume
// it any more.
func BenchmarkReach(b *testing.B) {
	for name, op := range map[string]func(b *testing.B, from, to *node) (took time.Duration){
		"removal":    reachByRemoval,
		"revocation": reachByRevocation,
	} {
		b.Run(name, func(b *testing.B) {
			nodes := newFleet(b, redistest.Start(b).URL())
			var took []time.Duration
			for b.Loop() {
				took = append(took, op(b, nodes[0], nodes[1]))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}

func reachByRemoval(_ *testing.B, from, to *node) time.Duration {
	s := from.full()
	to.resumes(s, reprise.Resumed)
	begun := time.Now()
	from.Remove(s)
	to.loses(s)
	return time.Since(begun)
}

func reachByRevocation(b *testing.B, from, to *node) time.Duration {
	time.Sleep(60 * time.Millisecond) // so that it is not the second in 50 ms
	s := from.full()
	to.resumes(s, reprise.Resumed)
	begun := time.Now()
	if err := from.binding.Revoke(b.Context(), reprise.RevokeSession(s)); err != nil {
		b.Fatal(err)
	}
	for to.resume(s) == reprise.Resumed {
		time.Sleep(50 * time.Microsecond)
	}
	return time.Since(begun)
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
