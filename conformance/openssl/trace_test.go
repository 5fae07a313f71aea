package openssl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// traces are the traces of scenarios by their names, and the order of these.
type traces struct {
	names []string
	of    map[string][]string
}

func parseTraces(t *testing.T, text string) traces {
	t.Helper()
	all := traces{of: map[string][]string{}}
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if begun, ok := strings.CutPrefix(line, "scenario "); ok {
			if all.of[begun] != nil {
				t.Fatalf("two scenarios have the name %s", begun)
			}
			name = begun
			all.names = append(all.names, name)
			all.of[name] = []string{}
		} else if line != "" && !strings.HasPrefix(line, "#") {
			all.of[name] = append(all.of[name], line)
		}
	}
	return all
}

// without returns a trace without the events whose names begin with prefix.
func without(trace []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(trace), func(line string) bool {
		return strings.HasPrefix(eventName(line), prefix)
	})
}

// eventName returns the name of an event, which follows the number of the connection.
func eventName(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// lineDifferences tells how two traces differ, line by line; nil if they do not.
func lineDifferences(want, got []string) []string {
	var differences []string
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			differences = append(differences, fmt.Sprintf("line %d is too many: %s", i+1, got[i]))
		case i >= len(got):
			differences = append(differences, fmt.Sprintf("line %d is missing: %s", i+1, want[i]))
		case want[i] != got[i]:
			differences = append(differences, fmt.Sprintf("line %d is\n\t%s\nand not\n\t%s", i+1, got[i], want[i]))
		}
	}
	return differences
}
