package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestMain makes the test binary a server too, since the program starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		exit(serve(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestQuick measures every case with every server, though with few connections. That connections were resumed, and what was asked of
// the stores, the program checks itself.
func TestQuick(t *testing.T) {
	var output strings.Builder
	if err := run(t.Context(), []string{"-quick", "-json"}, &output, t.Output()); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(output.String()), &r); err != nil {
		t.Fatal(err)
	}
	if got, want := len(r.Cases), len(cases(false)); got != want {
		t.Errorf("%d cases, want %d", got, want)
	}
	for _, c := range r.Cases {
		for _, s := range c.Servers {
			k, isKind := kindOf(s.Server)
			allocates := isKind && !k.isProgram() && !k.isPlain() // so that it is seen after a few connections
			if s.CPU.Median <= 0 || s.Ratio.Median <= 0 || s.Allocations <= 0 && allocates {
				t.Errorf("%s, %s: %+v", c.Case, s.Server, s)
			}
		}
	}
	if err := r.print(t.Output()); err != nil {
		t.Error(err)
	}
}

// TestQuickLookups measures a few lookups. That they read the store, the program checks itself.
func TestQuickLookups(t *testing.T) {
	var output strings.Builder
	err := run(t.Context(), []string{"-quick", "-lookups", "-json"}, &output, t.Output())
	if errors.Is(err, errNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var r lookupReport
	if err := json.Unmarshal([]byte(output.String()), &r); err != nil {
		t.Fatal(err)
	}
	if r.Hit.Median <= 0 || r.Read.Median <= 0 || r.RoundTrip.Median <= 0 || len(r.Rates) != 5 {
		t.Errorf("%+v", r)
	}
	if err := r.print(t.Output()); err != nil {
		t.Error(err)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	for _, arguments := range [][]string{
		{"-rounds", "0"},
		{"-cases", "["},
		{"-servers"},
		{"more"},
		{"-server-cpu", "10000"},
	} {
		if err := run(t.Context(), arguments, t.Output(), t.Output()); err == nil {
			t.Errorf("%q: no error", arguments)
		}
	}
}

func TestSpread(t *testing.T) {
	values := make([]float64, 101)
	for i := range values {
		values[i] = float64((i * 37) % 101) // 0 to 100 in another order
	}
	s := spreadOf(values)
	if s.Median != 50 || s.P10 != 10 || s.P90 != 90 {
		t.Errorf("got %+v", s)
	}
	// With 101 values, the median lies between the 40th and the 61st with 95 %.
	if s.Low < 39 || s.Low > 41 || s.High < 59 || s.High > 62 {
		t.Errorf("median between %v and %v", s.Low, s.High)
	}
	if one := spreadOf([]float64{7}); one != (spread{7, 7, 7, 7, 7}) {
		t.Errorf("of one value: %+v", one)
	}
}
