package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/reprise-tls/reprise/conformance/fleet"
)

// A screen shows what has become of all visits so far: on a terminal twice a second in the same place, else every five seconds.
type screen struct {
	fleet    *fleet.Fleet
	load     *fleet.Load
	began    time.Time
	tally    fleet.Tally
	failures []error
	inPlace  bool
	drawn    int // lines
}

func newScreen(f *fleet.Fleet, l *fleet.Load) *screen {
	s := &screen{fleet: f, load: l, began: time.Now(), tally: make(fleet.Tally)}
	if info, err := os.Stdout.Stat(); err == nil {
		s.inPlace = info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// run shows the figures until ctx is done or something has failed.
func (s *screen) run(ctx context.Context, failed <-chan error) error {
	fmt.Printf("All of it behind https://%s. Ctrl-C ends it. Try, from another terminal:\n\n", s.fleet.Balancer.Address)
	fmt.Printf("  curl -k --http1.1 https://%[1]s/ https://%[1]s/ https://%[1]s/\n\n", s.fleet.Balancer.Address)
	interval := 5 * time.Second
	if s.inPlace {
		interval = time.Second / 2
	}
	for sleep(ctx, interval) {
		s.draw()
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
		default:
		}
	}
	s.draw()
	return nil
}

func (s *screen) draw() {
	tally, failures := s.load.Take()
	s.tally.Add(tally)
	s.failures = append(s.failures, failures...)
	if s.inPlace && s.drawn > 0 {
		fmt.Printf("\x1b[%dA\x1b[J", s.drawn)
	}
	lines := s.lines()
	s.drawn = len(lines)
	fmt.Println(strings.Join(lines, "\n"))
}

// lines are one of each node, between a head and the sums.
func (s *screen) lines() []string {
	lines := []string{fmt.Sprintf("%-8s %-5s %7s %8s %15s  %s", "node", "", "full", "resumed", "made elsewhere", "full because")}
	for _, n := range s.fleet.Nodes {
		state := "up"
		if !s.fleet.Balancer.IsUp(n.Name) {
			state = "down"
		}
		lines = append(lines, s.line(n.Name, state, func(v fleet.Visit) bool { return v.Node == n.Name }))
	}
	lines = append(lines, s.line("all", "", func(fleet.Visit) bool { return true }), "")
	all, resumed := s.tally.Returned()
	share := 100.0
	if all > 0 {
		share = 100 * float64(resumed) / float64(all)
	}
	lines = append(lines, fmt.Sprintf("after %v: %d visits with a session, %.2f %% resumed; %d connections failed",
		time.Since(s.began).Round(time.Second), all, share, len(s.failures)))
	if len(s.failures) > 0 {
		lines = append(lines, "the last of them: "+firstLine(s.failures[len(s.failures)-1].Error()))
	}
	return lines
}

func (s *screen) line(name, state string, matches func(fleet.Visit) bool) string {
	count := func(more func(fleet.Visit) bool) int {
		return s.tally.Count(func(v fleet.Visit) bool { return matches(v) && more(v) })
	}
	full := count(func(v fleet.Visit) bool { return !v.Resumed() })
	resumed := count(fleet.Visit.Resumed)
	elsewhere := count(func(v fleet.Visit) bool { return v.Resumed() && v.Elsewhere })
	return fmt.Sprintf("%-8s %-5s %7d %8d %15d  %s", name, state, full, resumed, elsewhere, s.reasons(matches))
}

// reasons returns why visits made full handshakes, the most frequent reason first.
func (s *screen) reasons(matches func(fleet.Visit) bool) string {
	times := make(map[string]int)
	for v, n := range s.tally {
		if matches(v) && !v.Resumed() {
			times[v.Reason] += n
		}
	}
	var names []string
	for name := range times {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if times[a] != times[b] {
			return times[b] - times[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, times[name])
	}
	return strings.Join(names, ", ")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
