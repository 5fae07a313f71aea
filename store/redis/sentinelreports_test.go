package redisstore

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// TestJudgeReports checks which primary is believed in, and for how long.
func TestJudgeReports(t *testing.T) {
	now := time.Now()
	report := func(id, primary string, epoch uint64, others int, age time.Duration) *sentinelReport {
		return &sentinelReport{now.Add(-age), id, primary, epoch, make([]string, others)}
	}
	const second = time.Second
	for name, test := range map[string]struct {
		reports []*sentinelReport
		want    string
		until   time.Duration // from now on
	}{
		"none":                               {nil, "", 0},
		"the only one":                       {[]*sentinelReport{report("1", "a", 0, 0, 0)}, "a", trust},
		"one of two":                         {[]*sentinelReport{report("1", "a", 0, 1, 0)}, "a", trust},
		"one of three":                       {[]*sentinelReport{report("1", "a", 0, 2, 0)}, "", 0},
		"one of three, by two addresses":     {[]*sentinelReport{report("1", "a", 0, 2, 0), report("1", "a", 0, 2, 0)}, "", 0},
		"two of three":                       {[]*sentinelReport{report("1", "a", 0, 2, 0), report("2", "a", 0, 2, second)}, "a", trust - second},
		"two of three, one of them long ago": {[]*sentinelReport{report("1", "a", 0, 2, 0), report("2", "a", 0, 2, trust)}, "", 0},
		"three of three": {
			[]*sentinelReport{report("1", "a", 0, 2, 0), report("2", "a", 0, 2, second/2), report("3", "a", 0, 2, second)}, "a", trust - second/2,
		},
		"two of five":                      {[]*sentinelReport{report("1", "a", 3, 4, 0), report("2", "a", 3, 4, 0)}, "", 0},
		"two of five, as one alone knows":  {[]*sentinelReport{report("1", "a", 3, 2, 0), report("2", "a", 3, 4, 0)}, "", 0},
		"one that has heard of a failover": {[]*sentinelReport{report("1", "a", 3, 2, 0), report("2", "b", 4, 2, 0)}, "b", trust},
		"one that knows the primary by another address": {
			[]*sentinelReport{report("1", "a", 3, 2, 0), report("2", "a", 3, 2, 0), report("3", "localhost", 3, 2, 0)}, "a", trust,
		},
		"one that others have forgotten": {[]*sentinelReport{report("1", "a", 3, 0, 0), report("2", "a", 3, 2, remembrance), report("3", "a", 3, 2, remembrance)}, "a", trust},
		"two and two":                    {[]*sentinelReport{report("1", "a", 3, 3, 0), report("2", "a", 3, 3, 0), report("3", "b", 3, 3, 0), report("4", "b", 3, 3, 0)}, "", 0},
		"one that has lost its memory":   {[]*sentinelReport{report("1", "a", 3, 2, trust), report("2", "a", 3, 2, trust), report("3", "b", 0, 0, 0)}, "", 0},
		"two of the same epoch":          {[]*sentinelReport{report("1", "a", 3, 2, 0), report("2", "b", 3, 2, 0)}, "", 0},
		"an older one of the same":       {[]*sentinelReport{report("1", "a", 3, 0, second), report("1", "b", 4, 0, 0)}, "b", trust},
	} {
		for range 2 {
			slices.Reverse(test.reports)
			named, err := judgeReports(test.reports, now)
			switch {
			case test.want == "" && err == nil, test.want != "" && err != nil:
				t.Errorf("%s: %v, %v", name, named, err)
			case test.want != "" && (named.address != test.want || !named.until.Equal(now.Add(test.until))):
				t.Errorf("%s: %s for %v, want %s for %v", name, named.address, named.until.Sub(now), test.want, test.until)
			}
		}
	}
}

// TestPutsThatAWrongServerRedirects: servers that sentinels watch know of no slots. One that says it does harms nothing when there is no primary.
func TestPutsThatAWrongServerRedirects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for in := bufio.NewScanner(conn); in.Scan(); {
			switch strings.TrimSpace(in.Text()) {
			case "HELLO":
				_, _ = io.WriteString(conn, "%1\r\n$5\r\nproto\r\n:3\r\n")
			case "SET":
				_, _ = io.WriteString(conn, "-MOVED 1 127.0.0.1:1\r\n")
			}
		}
	}()
	s := newStore(&target{deployment: sentinel, hosts: []string{"127.0.0.1:1"}}, Options{})
	defer s.Close()
	s.sentinels = new(sentinels)
	client, err := rueidis.NewClient(s.optionsOf(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s.client.Store(&connection{l.Addr().String(), client})
	s.putTogether(t.Context(), client, []reprise.StorePut{{Lifetime: time.Hour}}, []int{0}, func(_ int, told error) { err = told })
	if !errors.Is(err, errFewSentinels) {
		t.Errorf("error %v, want errFewSentinels", err)
	}
}

// TestSentinelsAreForgotten: what no sentinel names any more is asked no more, unless the URL does.
func TestSentinelsAreForgotten(t *testing.T) {
	s := newStore(&target{deployment: sentinel, hosts: []string{"127.0.0.1:1", "127.0.0.1:2"}}, Options{Unsafe: true})
	defer s.Close()
	w := newSentinels(s)
	asked := func(address string) *askedSentinel {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.asked[address]
	}
	tell := func(address string, others ...string) {
		w.told(asked(address), &sentinelReport{time.Now(), address, "primary", 0, others}, nil)
	}
	fail := func(address string) { w.told(asked(address), nil, io.EOF) }

	tell("127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:4")
	tell("127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:4")
	gone := asked("127.0.0.1:4")
	fail("127.0.0.1:4")
	tell("127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:4")
	if asked("127.0.0.1:4") == nil {
		t.Error("one that others name is forgotten")
	}
	for range 2 {
		fail("127.0.0.1:2")
		tell("127.0.0.1:1", "127.0.0.1:3")
		tell("127.0.0.1:3", "127.0.0.1:1")
	}
	if asked("127.0.0.1:4") != nil || asked("127.0.0.1:2") == nil || asked("127.0.0.1:3") == nil {
		t.Error("another one is forgotten than that which nobody names")
	}
	w.told(gone, nil, io.EOF) // it comes too late
}
