package reprise

import (
	"crypto/rand"
	"maps"
	"sync"
	"sync/atomic"
)

// A partition is a part of a store that fails by itself ([Partitioned]): it has a breaker and a lane of the write queue of its own.
type partition struct {
	name    string
	breaker breaker
	lane    writeLane
}

// maxPartitions bounds how many are told apart. Others are one with the whole.
const maxPartitions = 1024

// partitions are those of a store that were met so far. A store that has none, or does not know where a key is, is one: the whole.
type partitions struct {
	store Partitioned // nil if the store is not
	begin func(name string) *partition
	whole *partition

	known atomic.Pointer[map[string]*partition] // immutable; the whole is in it
	mu    sync.Mutex                            // of those who change it
}

// init makes the whole. begin makes a partition.
func (p *partitions) init(s Store, begin func(name string) *partition) {
	p.store, _ = s.(Partitioned)
	p.begin = begin
	p.whole = begin("")
	p.known.Store(&map[string]*partition{"": p.whole})
}

// of returns the partition of a key.
func (p *partitions) of(key StoreKey) *partition {
	if p.store == nil {
		return p.whole
	}
	name := p.store.Partition(key)
	if name == "" {
		return p.whole
	}
	if known := (*p.known.Load())[name]; known != nil {
		return known
	}
	return p.meet(name)
}

// meet returns the partition of a name that may be new.
func (p *partitions) meet(name string) *partition {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := *p.known.Load()
	switch {
	case known[name] != nil:
		return known[name]
	case len(known) == maxPartitions:
		return p.whole
	}
	grown := maps.Clone(known)
	grown[name] = p.begin(name)
	p.known.Store(&grown)
	return grown[name]
}

// all returns those there are, by name.
func (p *partitions) all() map[string]*partition { return *p.known.Load() }

// keyIn returns a key in a partition that no record has. If there is none soon, as in one that has gone, it lies anywhere.
func (p *partitions) keyIn(in *partition) (key StoreKey) {
	for range 16 * maxPartitions {
		rand.Read(key[:])
		if p.store == nil || in == p.whole || p.of(key) == in {
			break
		}
	}
	return key
}

// areMany reports whether more than the whole was met.
func (p *partitions) areMany() bool { return len(p.all()) > 1 }

// end waits for the work of the breakers, after their context has ended.
func (p *partitions) end() {
	for _, one := range p.all() {
		one.breaker.wait()
	}
}

// status returns the worst state of the breakers, and how often they have opened.
func (p *partitions) status() (worst BreakerState, opened uint64) {
	for _, one := range p.all() {
		state, n := one.breaker.status()
		opened += n
		if worst == BreakerClosed || state == BreakerOpen {
			worst = state
		}
	}
	return worst, opened
}
