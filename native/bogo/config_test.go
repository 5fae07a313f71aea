package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/native/internal/alert"
)

// runnerConfig is what the runner reads of config.json.
type runnerConfig struct {
	DisabledTests map[string]string
	ErrorMap      map[string][]string
}

func loadConfig(t *testing.T) (c runnerConfig) {
	t.Helper()
	file, err := os.Open("config.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.DisabledTests) == 0 || len(c.ErrorMap) == 0 {
		t.Fatal("config.json is empty")
	}
	return c
}

// TestDisabledTests: each has a reason, of one of four kinds.
func TestDisabledTests(t *testing.T) {
	reason := regexp.MustCompile(`^(not implemented|BoringSSL only|not in tls\.Config|policy): .{4,}`)
	for pattern, why := range loadConfig(t).DisabledTests {
		if _, err := path.Match(pattern, ""); err != nil || strings.Trim(pattern, "*") == "" {
			t.Errorf("pattern %q: %v", pattern, err)
		}
		if !reason.MatchString(why) {
			t.Errorf("%s: reason %q", pattern, why)
		}
	}
}

// TestErrorMap: each entry is an alert and the beginning of an error that the engine sends it for, at least up to what varies.
func TestErrorMap(t *testing.T) {
	faults := parseFaults(t)
	if len(faults) < 50 {
		t.Fatalf("only %d errors in the sources", len(faults))
	}
	for name, entries := range loadConfig(t).ErrorMap {
		if !regexp.MustCompile(`^:[A-Z0-9_]+:$`).MatchString(name) || len(entries) == 0 {
			t.Errorf("%q: %q", name, entries)
		}
		for _, entry := range entries {
			if !slices.ContainsFunc(faults, func(f fault) bool { return f.matches(entry) }) {
				t.Errorf("%s: the engine has no error %q", name, entry)
			}
		}
	}
}

// A fault is an error with an alert, as it stands in the sources.
type fault struct{ alert, format string }

var verb = regexp.MustCompile(`%[#+0-9.]*[a-zA-Z]`)

// matches tells whether a text can be the beginning of the error.
func (f fault) matches(entry string) bool {
	text, ok := strings.CutPrefix(entry, f.alert+": ")
	if !ok {
		return false
	}
	shortest := len(f.format)
	if at := verb.FindStringIndex(f.format); at != nil {
		shortest = at[0]
	}
	for end := shortest; end <= len(f.format); end++ {
		pattern := ""
		for i, literal := range verb.Split(f.format[:end], -1) {
			if i > 0 {
				pattern += ".+"
			}
			pattern += regexp.QuoteMeta(literal)
		}
		if regexp.MustCompile("^" + pattern + "$").MatchString(text) {
			return true
		}
	}
	return false
}

// parseFaults collects the calls of Errorf and Wrap on an alert.
func parseFaults(t *testing.T) (faults []fault) {
	t.Helper()
	names := make(map[string]string)
	for a := range 256 {
		name := alert.Alert(a).String()
		names[strings.ToLower(strings.ReplaceAll(name, " ", ""))] = name
	}
	var files []string
	for _, pattern := range []string{"../*.go", "../internal/*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if a, ok := names[strings.ToLower(alertOf(call))]; ok {
				faults = append(faults, fault{a, formatOf(call)})
			}
			return true
		})
	}
	return faults
}

// alertOf returns X of alert.X.Errorf(…) and alert.X.Wrap(…).
func alertOf(call *ast.CallExpr) string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || method.Sel.Name != "Errorf" && method.Sel.Name != "Wrap" {
		return ""
	}
	name, ok := method.X.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := name.X.(*ast.Ident); !ok || pkg.Name != "alert" {
		return ""
	}
	return name.Sel.Name
}

// formatOf returns the text of a call, and of the call that is its argument.
func formatOf(call *ast.CallExpr) string {
	if len(call.Args) == 0 {
		return ""
	}
	switch arg := call.Args[0].(type) {
	case *ast.BasicLit:
		format, _ := strconv.Unquote(arg.Value)
		return format
	case *ast.CallExpr:
		return formatOf(arg)
	default:
		return ""
	}
}
