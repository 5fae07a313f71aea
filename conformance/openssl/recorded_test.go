package openssl_test

import (
	"slices"
	"strings"
	"testing"
)

// scenariosOf returns the list of scenarios.
func scenariosOf(t *testing.T) string {
	t.Helper()
	return readFile(t, "testdata/scenarios.txt")
}

// TestLibsslDoesAsRecorded: the traces that were recorded of libssl come out of player.
func TestLibsslDoesAsRecorded(t *testing.T) {
	t.Parallel()
	recorded := parseTraces(t, readFile(t, "testdata/openssl-3.0.22.txt"))
	played := play(t, scenariosOf(t), nil)
	for _, name := range recorded.names {
		t.Run(name, func(t *testing.T) {
			if _, ok := played.of[name]; !ok {
				t.Fatal("it is not among the scenarios")
			}
			for _, difference := range lineDifferences(recorded.of[name], without(played.of[name], "client_alert_")) {
				t.Error(difference)
			}
		})
	}
}

// TestAnAlteredTraceIsFound: whatever is changed in a recorded trace, the comparison with it finds.
func TestAnAlteredTraceIsFound(t *testing.T) {
	t.Parallel()
	recorded := parseTraces(t, readFile(t, "testdata/openssl-3.0.22.txt"))
	for _, name := range recorded.names {
		trace := recorded.of[name]
		for i, line := range trace {
			number := append(slices.Clone(trace[:i]), strings.Replace(line, "=", "=x", 1))
			alterations := [][]string{
				slices.Delete(slices.Clone(trace), i, i+1),
				slices.Insert(slices.Clone(trace), i, line),
				append(number, trace[i+1:]...),
			}
			for k, altered := range alterations {
				if k == 2 && !strings.Contains(line, "=") {
					continue
				}
				if lineDifferences(trace, altered) == nil {
					t.Errorf("%s: alteration %d of line %d is not found", name, k, i+1)
				}
			}
		}
	}
}
