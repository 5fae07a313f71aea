package reprise

import (
	"crypto/rand"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/reprise-tls/reprise/internal/stack"
)

// A partition is a part of a store that fails by itself ([Partitioned]). It has a breaker, lanes of the write queue, and a bound of its own
// on the calls that hang.
type partition struct {
	name          string
	breaker       breaker
	puts, deletes writeLane

	room    writeRoom    // taken by the entries that began here; under the lock of the queue
	entries atomic.Int64 // how many these are
	running int          // calls that have not returned; under the lock of the calls
	probe   *storeCall   // the breaker's last
}

// maxPartitions bounds how many are told apart. Others are one with the whole.
const maxPartitions = 1024

// partitions are those of a store that were met lately. A store that has none, or does not know where a key is, is one: the whole.
type partitions struct {
	store    Partitioned // nil if the store is not
	make     func(name string) *partition
	panicked func(method string, with any, trace string) // called when the store does
	whole    *partition

	known     atomic.Pointer[map[string]*partition] // immutable; the whole is in it
	mu        sync.Mutex                            // of those who change it
	forgotten uint64                                // how often breakers have opened of those that are forgotten
}

// init makes the whole.
func (p *partitions) init(s Store, panicked func(method string, with any, trace string), maker func(name string) *partition) {
	p.store, _ = s.(Partitioned)
	p.make, p.panicked = maker, panicked
	p.whole = maker("")
	p.known.Store(&map[string]*partition{"": p.whole})
}

// of returns the partition that a key is in now.
func (p *partitions) of(key StoreKey) *partition {
	if p.store == nil {
		return p.whole
	}
	name := p.name(key)
	if known := p.all()[name]; known != nil {
		return known
	}
	return p.meet(name)
}

// name asks the store.
func (p *partitions) name(key StoreKey) (name string) {
	defer func() {
		if with := recover(); with != nil {
			go p.panicked("partition", with, stack.Trace()) // who asks may hold a lock
			name = ""
		}
	}()
	return p.store.Partition(key)
}

// meet returns the partition of a name that may be new.
func (p *partitions) meet(name string) *partition {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := maps.Clone(p.all())
	if known[name] != nil {
		return known[name]
	}
	if len(known) == maxPartitions {
		p.forget(known)
	}
	if len(known) == maxPartitions {
		return p.whole
	}
	known[name] = p.make(name)
	p.known.Store(&known)
	return known[name]
}

// forget takes out those that have nothing to be written and are not left alone. One that is still in use is met again.
func (p *partitions) forget(known map[string]*partition) {
	for name, one := range known {
		state, opened := one.breaker.status()
		if one != p.whole && state == BreakerClosed && one.entries.Load() == 0 {
			p.forgotten += opened
			delete(known, name)
		}
	}
}

// keyIn returns a key in a partition that no record has. If there is none soon, as in one that has gone, it lies anywhere.
func (p *partitions) keyIn(in *partition) (key StoreKey) {
	for range 16 * maxPartitions {
		rand.Read(key[:])
		if in == p.whole || p.name(key) == in.name {
			break
		}
	}
	return key
}

// all returns those there are, by name.
func (p *partitions) all() map[string]*partition { return *p.known.Load() }

// areMany reports whether there are several besides the whole, which is for keys of which the store has not heard where they are.
func (p *partitions) areMany() bool { return len(p.all()) > 2 }

// end waits for the work of the breakers, after their context has ended.
func (p *partitions) end() {
	for _, one := range p.all() {
		one.breaker.wait()
	}
}

// status returns the worst state of the breakers, and how often they have opened.
func (p *partitions) status() (worst BreakerState, opened uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	opened = p.forgotten
	for _, one := range p.all() {
		state, n := one.breaker.status()
		opened += n
		if worst == BreakerClosed || state == BreakerOpen {
			worst = state
		}
	}
	return worst, opened
}
