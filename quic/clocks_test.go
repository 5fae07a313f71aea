package quic_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
)

// TestClocksDifferFromTheStores: nodes compare their clocks with that of Redis. One that is five minutes ahead or behind makes no session
// that any node takes early data with, and takes none. Sessions resume between all of them, and nothing arrives twice.
func TestClocksDifferFromTheStores(t *testing.T) {
	server := redistest.Start(t)
	keys := reprise.RandomFleetKeys()
	nodes := make(map[time.Duration]*node)
	for _, ahead := range []time.Duration{0, 4 * time.Second, -4 * time.Second, 5 * time.Minute, -5 * time.Minute} {
		store := openRedis(t, server)
		nodes[ahead] = newNodeAt(t, ahead, keys, store)
		nodes[ahead].await("notices and the time of Redis", func() bool {
			_, known := store.Clock(reprise.StoreKey{})
			return known && nodes[ahead].binding.Stats().Following
		})
	}
	isRight := func(ahead time.Duration) bool { return ahead.Abs() < 5*time.Second }
	for madeAhead, made := range nodes {
		for usedAhead, used := range nodes {
			text := fmt.Sprintf("made by a node that is ahead by %v, used on one by %v", madeAhead, usedAhead)
			session := made.visitFull()
			expect(t, text, used.visit(session, text), true, isRight(madeAhead) && isRight(usedAhead))
			if times := count(text, made, used); times != 1 && made != used {
				t.Errorf("%s: what the client sent has arrived %d times", text, times)
			}
			if isRight(madeAhead) {
				expect(t, text+", again", used.visit(session, text+", again"), false, false)
			}
		}
	}
}

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
