package reprise

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
)

// sources bounds how many unconfirmed sessions one source address makes a minute. Addresses share a fixed number of
// counters by a seeded hash, so that its memory does not grow with their number.
type sources struct {
	mu     sync.Mutex
	seed   maphash.Seed
	minute milliseconds
	counts [4096]uint32
}

// allow counts one session of addr and reports whether it is within the limit.
func (s *sources) allow(addr net.Addr, limit int, now milliseconds) bool {
	if limit < 0 {
		return true
	}
	source := sourceOf(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if minute := now / 60_000; minute != s.minute {
		s.minute = minute
		s.seed = maphash.MakeSeed()
		clear(s.counts[:])
	}
	n := &s.counts[maphash.Comparable(s.seed, source)%uint64(len(s.counts))]
	if int64(*n) >= int64(limit) {
		return false
	}
	*n++
	return true
}

// sourceOf returns what counts as one source: an IPv4 address, an IPv6 /64, or all that have no address together.
func sourceOf(addr net.Addr) netip.Prefix {
	if addr == nil {
		return netip.Prefix{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
