package main

import (
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/reprise-tls/reprise/conformance/fleet"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Run(m)) }

// TestDemo runs it for a moment, and looks whether it leaves anything behind.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	err := run(t.Context(), []string{"-reprise", harness.Program(), "-for", "3s", "-restart", "1s", "-clients", "4"})
	if errors.Is(err, fleet.ErrNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, arguments := range [][]string{{"-for", "soon"}, {"-for", "-1s"}, {"-clients", "-1"}, {"more"}} {
		if err := run(t.Context(), arguments); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", arguments, err)
		}
	}
	if err := run(t.Context(), []string{"-help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
	if err := run(t.Context(), []string{"-reprise", "/nowhere"}); err == nil {
		t.Error("a program that is not there: no error")
	}
}
