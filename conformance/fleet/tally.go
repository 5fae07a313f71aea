package fleet

// A Visit is what became of one connection of a client.
type Visit struct {
	// Client is the kind of client, such as "go TLS 1.3".
	Client string
	// Node is the name of the node that has answered.
	Node string
	// Reason is "resumed", "not-offered", or why the client's session was declined.
	Reason string
	// Returned tells that the client had been given a session before.
	Returned bool
	// Elsewhere tells that this was by another node.
	Elsewhere bool
}

// Resumed reports whether the visit resumed a session.
func (v Visit) Resumed() bool { return v.Reason == "resumed" }

// A Tally is how often each kind of visit was made.
type Tally map[Visit]int

// Count returns how many visits match.
func (t Tally) Count(match func(Visit) bool) (n int) {
	for v, times := range t {
		if match(v) {
			n += times
		}
	}
	return n
}

// Add adds what another tally has.
func (t Tally) Add(other Tally) {
	for v, times := range other {
		t[v] += times
	}
}

// Returned returns how many visits were made with a session, and how many of them resumed it.
func (t Tally) Returned() (all, resumed int) {
	all = t.Count(func(v Visit) bool { return v.Returned })
	return all, t.Count(func(v Visit) bool { return v.Returned && v.Resumed() })
}
