// Package workers keeps goroutines whose stacks have grown.
package workers

import "sync/atomic"

// A Pool makes goroutines that each do one job after the other. The stack of a goroutine grows while it works, by copying, and
// where the same deep calls are made again and again that costs more than what is around them; so goroutines that have
// grown wait for the next job, a few of them.
type Pool[J any] struct {
	work func(J)
	jobs chan J
	done <-chan struct{}
	idle atomic.Int32
}

const maxIdle = 16

// New returns a pool whose goroutines call work for each job. Those that wait end when done is closed.
func New[J any](done <-chan struct{}, work func(J)) *Pool[J] {
	return &Pool[J]{work: work, jobs: make(chan J), done: done}
}

// Do has a job done by a goroutine that waits, or else by a new one. It returns at once.
func (p *Pool[J]) Do(job J) {
	select {
	case p.jobs <- job:
	default:
		go p.run(job)
	}
}

func (p *Pool[J]) run(job J) {
	for ok := true; ok; {
		p.work(job)
		job, ok = p.wait()
	}
}

// wait returns the next job. If there is none, the goroutine must end.
func (p *Pool[J]) wait() (job J, ok bool) {
	defer p.idle.Add(-1)
	if p.idle.Add(1) > maxIdle {
		return job, false
	}
	select {
	case job = <-p.jobs:
		return job, true
	case <-p.done:
		return job, false
	}
}
