package storetest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise"
)

// TestSuiteCatches runs each case on a store that breaks the sentence which the case checks.
func TestSuiteCatches(t *testing.T) {
	for _, c := range cases {
		for fault, broken := range faults(c.name) {
			t.Run(c.name+"/"+strings.ReplaceAll(fault, " ", "_"), func(t *testing.T) {
				t.Parallel()
				r := judge(t, c, broken)
				if len(r.failures) == 0 {
					t.Fatalf("the case passed (skipped: %v) on a store that breaks the contract: %s", r.skipped, fault)
				}
				if !strings.Contains(r.failures[0], c.sentence) {
					t.Errorf("the failure does not quote the contract: %s", r.failures[0])
				}
			})
		}
		if len(faults(c.name)) == 0 {
			t.Errorf("no broken store for case %s", c.name)
		}
	}
}

// TestSuitePasses runs each case on a store that keeps the contract and has all that can be had.
func TestSuitePasses(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			whole := func() *double { return new(double) }
			if c.name == "Notices" {
				whole = newTelling
			}
			r := judge(t, c, whole)
			if len(r.failures) > 0 || r.skipped {
				t.Errorf("skipped: %v, failures: %v", r.skipped, r.failures)
			}
		})
	}
}

func TestSentencesAreFromTheContract(t *testing.T) {
	source, err := os.ReadFile("../../store.go")
	if err != nil {
		t.Fatal(err)
	}
	contract := strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", "")), " ")
	for _, c := range cases {
		if !strings.Contains(contract, c.sentence) {
			t.Errorf("case %s quotes what store.go does not say: %s", c.name, c.sentence)
		}
	}
}

// judge runs a case on the stores of open and records what it says.
func judge(t *testing.T, c testCase, open func() *double) *recorder {
	r := &recorder{ctx: t.Context()}
	d := open()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.check(c.checker(r, backend{
			open:   func() reprise.Store { return d },
			reopen: func(reprise.Store) reprise.Store { return d.restarted() },
			second: func(reprise.Store) reprise.Store { return d.node() },
		}))
	}()
	<-done
	return r
}

// A recorder is a tester that keeps what a case says.
type recorder struct {
	ctx      context.Context
	failures []string
	skipped  bool
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Fatal(args ...any) {
	r.failures = append(r.failures, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Skip(...any) {
	r.skipped = true
	runtime.Goexit()
}
