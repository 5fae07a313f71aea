package redisstore_test

import (
	"context"
	"os/exec"
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

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
