package quic_test

import (
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// TestClocksDiffer: between nodes whose clocks differ by five minutes sessions resume. Early data are refused where that can be
// seen: on the node that is behind. On the other one the session only looks older than it is. Nowhere are they accepted twice.
func TestClocksDiffer(t *testing.T) {
	const skew = 5 * time.Minute
	for _, test := range []struct {
		name       string
		made, used time.Duration // by how much the clock is ahead
		early      bool
	}{
		{"made by a node that is ahead", skew, 0, false},
		{"used on a node that is behind", 0, -skew, false},
		{"made by a node that is behind", -skew, 0, true},
		{"used on a node that is ahead", 0, skew, true},
		{"made and used by one that is ahead", skew, skew, true},
		{"made and used by one that is behind", -skew, -skew, true},
		{"nearly the same time", 5 * time.Second, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, store := reprise.RandomFleetKeys(), goodStore()
			made, used := newNodeAt(t, test.made, keys, store), newNodeAt(t, test.used, keys, store)
			session := made.visitFull()
			expect(t, "elsewhere", used.visit(session, "elsewhere"), true, test.early)
			for _, n := range []*node{used, made} {
				expect(t, "again", n.visit(session, "again"), false, false)
			}
			if times := count("elsewhere", made, used); times != 1 {
				t.Errorf("what the client sent has arrived %d times", times)
			}
		})
	}
}
