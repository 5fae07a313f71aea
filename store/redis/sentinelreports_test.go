package redisstore

import (
	"slices"
	"testing"
	"time"
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
		"two of the same epoch":            {[]*sentinelReport{report("1", "a", 3, 2, 0), report("2", "b", 3, 2, 0)}, "", 0},
		"an older one of the same":         {[]*sentinelReport{report("1", "a", 3, 0, second), report("1", "b", 4, 0, 0)}, "b", trust},
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
