package openssl_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An event is a line of a trace, taken apart.
type event struct {
	connection string // its number; "" for statistics
	name       string
	fields     map[string]string
}

// kinds are the events that are one thing told in two ways: what the client was given.
var kinds = map[string]string{"client_got_ticket": "ticket", "client_got_session_id": "session_id"}

// parseEvents takes a trace apart. A session is named after the connection that it first appeared on, C.N for the Nth
// there: so it has the same name in two traces, even if one has more sessions.
func parseEvents(trace []string) []event {
	events := make([]event, len(trace))
	sessions := names{of: map[string]string{}, count: map[string]int{}}
	for i, line := range trace {
		events[i] = parseEvent(line)
		for _, field := range []string{"sid", "ticket"} {
			if name, ok := events[i].fields[field]; ok {
				delete(events[i].fields, field)
				events[i].fields["sid"] = sessions.name(name, events[i].connection)
			}
		}
	}
	return events
}

func parseEvent(line string) event {
	words := strings.Fields(line)
	e := event{connection: words[0], name: words[1], fields: map[string]string{}}
	switch words[0] {
	case "stats":
		e = event{name: "stats." + words[1], fields: e.fields}
	case "store":
		return event{name: "store", fields: map[string]string{"number": words[1]}}
	case "unplayable":
		return event{name: "unplayable", fields: map[string]string{"key": words[1]}}
	}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		e.fields[name] = value
	}
	if kind, ok := kinds[e.name]; ok {
		e.name, e.fields["kind"] = "client_got", kind
		delete(e.fields, "len") // of the session ID, whose length other events tell
	}
	return e
}

// String returns the event without its connection.
func (e event) String() string {
	words := []string{e.name}
	for _, field := range slices.Sorted(maps.Keys(e.fields)) {
		words = append(words, field+"="+e.fields[field])
	}
	return strings.Join(words, " ")
}

type names struct {
	of    map[string]string
	count map[string]int // by connection
}

func (n *names) name(session, connection string) string {
	if session == "opaque" || session == "empty" {
		return session
	}
	if n.of[session] == "" {
		n.count[connection]++
		n.of[session] = connection + "." + strconv.Itoa(n.count[connection])
	}
	return n.of[session]
}

// isSame tells whether two events tell of the same thing, if perhaps in other words.
func (e event) isSame(other event) bool {
	return e.connection == other.connection && e.name == other.name && e.fields["sid"] == other.fields["sid"]
}

// compare returns how the trace of Reprise differs from that of libssl, one difference each:
//
//	-remove sid=1.1 ...     an event that only libssl has
//	+remove sid=1.1 ...     one that only Reprise has
//	remove.at accept>idle   another value of a field; > alone where a side has none
//	stats.A.hits +1         a number that is more by 1
func compare(libssl, reprise []string) []string {
	var differences []string
	a, b := parseEvents(libssl), parseEvents(reprise)
	align(a, b, func(a, b *event) {
		switch {
		case b == nil:
			differences = append(differences, "-"+a.String())
		case a == nil:
			differences = append(differences, "+"+b.String())
		default:
			differences = append(differences, compareFields(*a, *b)...)
		}
	})
	return differences
}

func compareFields(a, b event) (differences []string) {
	fields := maps.Clone(a.fields)
	maps.Copy(fields, b.fields)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		x, y := a.fields[field], b.fields[field]
		if x == y {
			continue
		}
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			differences = append(differences, fmt.Sprintf("%s.%s %+d", a.name, field, n-m))
		} else {
			differences = append(differences, fmt.Sprintf("%s.%s %s>%s", a.name, field, x, y))
		}
	}
	return differences
}

// align calls visit for each pair of events that are the same, and for each that has no counterpart with nil for that. It
// finds as many pairs as there can be, in order.
func align(a, b []event, visit func(a, b *event)) {
	longest := make([][]int, len(a)+1) // how many pairs there are from here on
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if a[i].isSame(b[j]) {
				longest[i][j] = max(longest[i][j], 1+longest[i+1][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i].isSame(b[j]) && longest[i][j] == 1+longest[i+1][j+1]:
			visit(&a[i], &b[j])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			visit(&a[i], nil)
			i++
		default:
			visit(nil, &b[j])
			j++
		}
	}
}
