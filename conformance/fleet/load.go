package fleet

import (
	"context"
	"sync"
)

// A Mix says how many clients of each kind there are.
type Mix struct {
	// GoTLS13 and GoTLS12 are clients of crypto/tls; in TLS 1.2 they resume by ticket.
	GoTLS13, GoTLS12 int
	// CurlTLS13 and CurlTLS12 are processes of curl; in TLS 1.2 they resume by session ID.
	CurlTLS13, CurlTLS12 int
	// OpenSSLTLS13 and OpenSSLTLS12 start an openssl s_client for each visit; in TLS 1.2 they resume by session ID.
	OpenSSLTLS13, OpenSSLTLS12 int
}

// A Load is clients that come to a fleet, through its balancer, again and again.
type Load struct {
	fleet   *Fleet
	ctx     context.Context
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu       sync.Mutex
	tally    Tally
	failures []error
}

// StartLoad starts clients.
func (f *Fleet) StartLoad(m Mix) *Load {
	l := &Load{fleet: f, tally: make(Tally)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, kind := range []struct {
		number int
		come   func(i int)
	}{
		{m.GoTLS13, func(i int) { l.comeByGo(i, tls13) }},
		{m.GoTLS12, func(i int) { l.comeByGo(i, tls12) }},
		{m.CurlTLS13, func(int) { l.comeByCurl(tls13) }},
		{m.CurlTLS12, func(int) { l.comeByCurl(tls12) }},
		{m.OpenSSLTLS13, func(i int) { l.comeByOpenSSL(i, tls13) }},
		{m.OpenSSLTLS12, func(i int) { l.comeByOpenSSL(i, tls12) }},
	} {
		for i := range kind.number {
			l.clients.Go(func() { kind.come(i) })
		}
	}
	return l
}

// Take returns what has become of all visits since the last call, and the errors of connections that failed.
func (l *Load) Take() (Tally, []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tally, failures := l.tally, l.failures
	l.tally, l.failures = make(Tally), nil
	return tally, failures
}

// Stop ends the clients. Connections that are under way are not counted.
func (l *Load) Stop() {
	l.cancel()
	l.clients.Wait()
}

// A regular is a client that has been there before.
type regular struct {
	load *Load
	kind string
	last string // the node that it was with; empty if it has no session yet
}

// visited notes what became of a visit.
func (r *regular) visited(a Answer) {
	v := Visit{Client: r.kind, Node: a.Node, Reason: a.Reason, Returned: r.last != "", Elsewhere: r.last != "" && r.last != a.Node}
	r.last = a.Node
	r.load.mu.Lock()
	defer r.load.mu.Unlock()
	r.load.tally[v]++
}

// failed notes that a connection has failed, unless the clients are being stopped.
func (r *regular) failed(err error) {
	if r.load.ctx.Err() != nil {
		return
	}
	r.last = ""
	r.load.mu.Lock()
	defer r.load.mu.Unlock()
	r.load.failures = append(r.load.failures, err)
}
