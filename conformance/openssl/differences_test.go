package openssl_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/listen"
)

// tablePath is the document whose table lists every difference that is meant.
const tablePath = "../../docs/openssl.md"

// A difference is a row of the table: what is different on purpose, where, and why.
type difference struct {
	key       string
	engines   []string
	scenarios []string // patterns; "all" for wherever it occurs
	patterns  []string // of what compare returns, or one flag of player that holds libssl to what Reprise does
	why       string
}

var quoted = regexp.MustCompile("`([^`]*)`")

// quotedWords returns the words that stand in a cell between backquotes.
func quotedWords(cell string) (words []string) {
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, match[1])
	}
	return words
}

// readTable reads the table: the one whose first column is called key.
func readTable(t *testing.T) (table []difference) {
	t.Helper()
	inside := false
	for line := range strings.Lines(readFile(t, tablePath)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 5 && cells[0] == "key":
			inside = true
		case !inside || len(cells) == 5 && strings.HasPrefix(cells[0], "-"):
		case len(cells) != 5:
			inside = false
		default:
			table = append(table, difference{
				key:      strings.Trim(cells[0], "`"),
				engines:  quotedWords(cells[1]),
				patterns: quotedWords(cells[3]),
				why:      cells[4],
			})
			last := &table[len(table)-1]
			for _, words := range quotedWords(cells[2]) {
				last.scenarios = append(last.scenarios, strings.Fields(words)...)
			}
		}
	}
	if len(table) == 0 {
		t.Fatalf("no table in %s", tablePath)
	}
	return table
}

// isFlag tells whether the row is not about what is printed, but about what libssl is told to do.
func (d difference) isFlag() bool { return strings.HasPrefix(d.patterns[0], "--") }

func (d difference) isEverywhere() bool { return slices.Contains(d.scenarios, "all") }

// holdsIn tells whether the row is about a scenario.
func (d difference) holdsIn(engine, scenario string) bool {
	return slices.Contains(d.engines, engine) && (d.isEverywhere() || slices.ContainsFunc(d.scenarios, func(pattern string) bool {
		return matches(pattern, scenario)
	}))
}

// allows tells whether one of the row's patterns fits what compare returned, and which.
func (d difference) allows(found string) (pattern string, ok bool) {
	name, _, _ := strings.Cut(found, " ")
	for _, pattern := range d.patterns {
		if matches(pattern, found) || matches(pattern, name) {
			return pattern, true
		}
	}
	return "", false
}

func matches(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// An account is what the comparison on one engine has found.
type account struct {
	engine     string
	table      []difference
	used       map[string]bool // row and pattern
	seen       map[string]bool // row and scenario
	unplayable map[string]bool // scenario
	unlisted   []string
	particular []string // that rows about particular scenarios list
}

func newAccount(engine string, table []difference) *account {
	return &account{
		engine:     engine,
		table:      table,
		used:       map[string]bool{},
		seen:       map[string]bool{},
		unplayable: map[string]bool{},
	}
}

// charge looks up one difference of a scenario in the table.
func (a *account) charge(scenario, found string) {
	isListed, isParticular := false, false
	for _, row := range a.table {
		if !row.holdsIn(a.engine, scenario) || row.isFlag() {
			continue
		}
		if pattern, ok := row.allows(found); ok {
			isListed = true
			isParticular = isParticular || !row.isEverywhere()
			a.used[row.key+" "+pattern] = true
			a.seen[row.key+" "+scenario] = true
		}
	}
	if !isListed {
		a.unlisted = append(a.unlisted, scenario+": "+found)
	}
	if isParticular {
		a.particular = append(a.particular, a.engine+" "+scenario+": "+found)
	}
}

// compareScenario charges all differences of a scenario. One that can't be played has only that.
func (a *account) compareScenario(scenario string, libssl, reprise []string) {
	for _, line := range reprise {
		if key, ok := strings.CutPrefix(line, "unplayable "); ok {
			a.unplayable[scenario] = true
			a.charge(scenario, "unplayable "+key)
			return
		}
	}
	for _, found := range compare(libssl, reprise) {
		a.charge(scenario, found)
	}
}

// chargeFlag notes where a flag of player makes a difference to libssl.
func (a *account) chargeFlag(row difference, plain, flagged traces) {
	for _, scenario := range plain.names {
		if slices.Equal(plain.of[scenario], flagged.of[scenario]) {
			continue
		}
		a.used[row.key+" "+row.patterns[0]] = true
		if row.holdsIn(a.engine, scenario) {
			a.seen[row.key+" "+scenario] = true
		} else {
			a.unlisted = append(a.unlisted, fmt.Sprintf("%s: %s makes a difference", scenario, row.patterns[0]))
		}
	}
}

// stale returns the scenarios in which the table lists a difference that the comparison has not found.
func (a *account) stale(scenarios []string) (stale []string) {
	for _, row := range a.table {
		if row.isEverywhere() {
			continue
		}
		for _, scenario := range scenarios {
			if row.holdsIn(a.engine, scenario) && !a.seen[row.key+" "+scenario] && !a.unplayable[scenario] {
				stale = append(stale, fmt.Sprintf("%s: it does not occur in %s", row.key, scenario))
			}
		}
		for _, pattern := range row.scenarios {
			if !slices.ContainsFunc(scenarios, func(s string) bool { return matches(pattern, s) }) {
				stale = append(stale, fmt.Sprintf("%s: there is no scenario %s", row.key, pattern))
			}
		}
	}
	return stale
}

// unused returns the patterns of the table that fit nothing, on no engine.
func unused(table []difference, accounts []*account) (unused []string) {
	for _, row := range table {
		for _, pattern := range row.patterns {
			if !slices.ContainsFunc(accounts, func(a *account) bool { return a.used[row.key+" "+pattern] }) {
				unused = append(unused, fmt.Sprintf("%s: nothing is %s", row.key, pattern))
			}
		}
	}
	return unused
}

// flagsOf returns the flags that hold libssl to what an engine does.
func flagsOf(table []difference, engine string) (flags []string) {
	for _, row := range table {
		if row.isFlag() && slices.Contains(row.engines, engine) {
			flags = append(flags, row.patterns[0])
		}
	}
	return flags
}

// engines are those of package listen, and what player must be told for them.
var engines = map[string][]string{
	listen.EngineStandard: {"--tickets"}, // crypto/tls knows no TLS 1.2 session IDs
	listen.EngineNative:   nil,
}

// TestRepriseDoesAsLibssl: on each engine, all scenarios come out as with libssl, but for the differences that the table lists; and
// each of these does occur.
func TestRepriseDoesAsLibssl(t *testing.T) {
	table, scenarios := readTable(t), scenariosOf(t)
	plain := play(t, scenarios, nil)
	var accounts []*account
	for _, engine := range slices.Sorted(maps.Keys(engines)) {
		t.Run(engine, func(t *testing.T) {
			a := newAccount(engine, table)
			accounts = append(accounts, a)
			for _, row := range table {
				if row.isFlag() && slices.Contains(row.engines, engine) {
					a.chargeFlag(row, plain, play(t, scenarios, nil, row.patterns[0]))
				}
			}
			libssl := play(t, scenarios, nil, flagsOf(table, engine)...)
			reprise := playReprise(t, scenarios, engine, engines[engine]...)
			for _, scenario := range libssl.names {
				a.compareScenario(scenario, libssl.of[scenario], reprise.of[scenario])
			}
			for _, unlisted := range a.unlisted {
				t.Errorf("not in the table: %s", unlisted)
			}
			for _, stale := range a.stale(libssl.names) {
				t.Errorf("in the table, but not so: %s", stale)
			}
			if !t.Failed() {
				checkThatAlterationsAreFound(t, a, libssl, reprise)
				checkThatEachRowIsNeeded(t, a, libssl, reprise)
			}
		})
	}
	for _, unused := range unused(table, accounts) {
		t.Errorf("in the table, but not so: %s", unused)
	}
	checkRecord(t, accounts)
}

// update writes the record anew.
var update = flag.Bool("update", false, "write "+recordPath+" anew")

// recordPath is the record of what the rows about particular scenarios amount to: so no row can hide more than it did when
// somebody has last looked.
const recordPath = "testdata/differences.txt"

func checkRecord(t *testing.T, accounts []*account) {
	t.Helper()
	var particular []string
	for _, a := range accounts {
		particular = append(particular, a.particular...)
	}
	if *update {
		if err := os.WriteFile(recordPath, []byte(strings.Join(particular, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded := strings.Split(strings.TrimSuffix(readFile(t, recordPath), "\n"), "\n")
	if differences := lineDifferences(recorded, particular); len(differences) > 0 {
		t.Errorf("the rows of the table amount to something else than in %s; look at it, and run the test with -update: %s",
			recordPath, differences[0])
	}
}

// checkThatAlterationsAreFound alters what Reprise did: one event is missing, or is there twice, or a number is another. All of it
// must be found, by the table or by the record. A quarter of the scenarios is enough to know.
func checkThatAlterationsAreFound(t *testing.T, a *account, libssl, reprise traces) {
	t.Helper()
	altered := 0
	for i, scenario := range libssl.names {
		trace := reprise.of[scenario]
		if i%4 != 0 || a.unplayable[scenario] || len(trace) > 100 {
			continue
		}
		original := newAccount(a.engine, a.table)
		original.compareScenario(scenario, libssl.of[scenario], trace)
		for i, line := range trace {
			for _, alteration := range alterations(line) {
				found := newAccount(a.engine, a.table)
				found.compareScenario(scenario, libssl.of[scenario], slices.Concat(trace[:i], alteration, trace[i+1:]))
				altered++
				if len(found.unlisted) == 0 && slices.Equal(found.particular, original.particular) {
					t.Errorf("%s: nobody minds that line %d, %q, is %q", scenario, i+1, line, alteration)
				}
			}
		}
	}
	if altered < 1000 {
		t.Errorf("only %d alterations were tried", altered)
	}
}

// checkThatEachRowIsNeeded takes the rows away, one at a time: then something is not listed. And a row of what does not occur is
// found.
func checkThatEachRowIsNeeded(t *testing.T, a *account, libssl, reprise traces) {
	t.Helper()
	for i, row := range a.table {
		if row.isFlag() || !slices.Contains(row.engines, a.engine) {
			continue
		}
		less := newAccount(a.engine, slices.Delete(slices.Clone(a.table), i, i+1))
		for _, scenario := range libssl.names {
			if row.holdsIn(a.engine, scenario) {
				less.compareScenario(scenario, libssl.of[scenario], reprise.of[scenario])
			}
		}
		if len(less.unlisted) == 0 {
			t.Errorf("nobody misses the row %s", row.key)
		}
	}
	never := difference{key: "never", engines: []string{a.engine}, scenarios: []string{"tls12_sid_full"}, patterns: []string{"+remove"}}
	more := newAccount(a.engine, append(slices.Clone(a.table), never))
	more.compareScenario("tls12_sid_full", libssl.of["tls12_sid_full"], reprise.of["tls12_sid_full"])
	if !slices.Contains(more.stale(libssl.names), "never: it does not occur in tls12_sid_full") {
		t.Error("nobody minds a row of what does not occur")
	}
}

var digits = regexp.MustCompile(`(number|hits|misses|timeouts|cache_full|accept)=\d+`)

// alterations returns what could stand in place of a line.
func alterations(line string) [][]string {
	altered := [][]string{{}, {line, line}}
	for _, at := range digits.FindAllStringIndex(line, -1) {
		altered = append(altered, []string{line[:at[1]] + "7" + line[at[1]:]})
	}
	return altered
}
