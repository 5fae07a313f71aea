package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"
)

// A lookupReport says what a resumption costs that is not in the internal cache and reads Redis, beside one that is, and beside a bare
// GET from the same core in the same round. Times are in microseconds, medians of each round.
type lookupReport struct {
	Rounds      int `json:"rounds"`
	Connections int `json:"connections_per_round"`
	Concurrency int `json:"concurrency"`
	// Hit and Read are from connecting to the first byte.
	Hit  spread `json:"hit_us"`
	Read spread `json:"read_us"`
	// RoundTrip is that of a bare GET, RoundTripCPU what that costs the process that makes it.
	RoundTrip    spread `json:"round_trip_us"`
	RoundTripCPU spread `json:"round_trip_cpu_us"`
	// Floor is what a bare GET in the middle of the handshake adds in place of the lookup, in the goroutine of the handshake and
	// from a connection of its own, FloorRatio that divided by RoundTrip, FloorCPU what it adds of CPU.
	Floor      spread `json:"floor_us"`
	FloorRatio spread `json:"floor_by_round_trip"`
	FloorCPU   spread `json:"floor_cpu_us"`
	// Added is Read less Hit in the same round, and Ratio that divided by RoundTrip; AddedCPU is of the server, for a connection.
	Added    spread `json:"added_us"`
	Ratio    spread `json:"added_by_round_trip"`
	AddedCPU spread `json:"added_cpu_us"`
	// Rates are handshakes per second with many connections at a time.
	Rates []rate `json:"rates"`

	rounds []lookupRound
}

type lookupRound struct {
	hit, read, floor, hitCPU, readCPU, floorCPU float64
	roundTrip, roundTripCPU                     float64
}

type rate struct {
	Case      string  `json:"case"`
	Server    string  `json:"server"`
	PerSecond float64 `json:"per_second"`
}

// Aims of a lookup.
const (
	maxLookupRatio = 1.3
	maxLookupCPU   = 25.0 // microseconds
)

// manyConnections is how many connections at a time rates are measured with.
const manyConnections = 64

// lookupCase is the kind of resumption that is measured.
var lookupCase = benchCase{version: tls.VersionTLS13, group: tls.X25519, resumed: true, key: ecdsaKey}

// The servers: one whose sessions are in the internal cache, and one that has none there.
const (
	hitServer  = "listen, Redis"
	readServer = "listen, Redis read"
)

// measureLookups measures both servers by turns.
func (b *benchmark) measureLookups(ctx context.Context) (r *lookupReport, err error) {
	r = &lookupReport{Rounds: b.rounds, Connections: b.connections, Concurrency: b.concurrency}
	if b.redis, err = startRedis(b.clientCPU, b.folder); err != nil {
		return nil, err
	}
	hit, err := b.startClient(hitServer, lookupCase)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hit.end()) }()
	read, err := b.startClient(readServer, lookupCase)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, read.end()) }()
	floor, err := b.startClient(floorKind.name, lookupCase)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, floor.end()) }()
	for round := range b.rounds {
		b.progress(lookupCase, round)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.addRound(hit, read, floor, round); err != nil {
			return nil, err
		}
	}
	b.progress(lookupCase, b.rounds)
	r.finish()
	full := lookupCase
	full.resumed = false
	for _, c := range []benchCase{lookupCase, full} {
		if err := b.addRates(r, c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// startClient starts a server and makes its client, which has its sessions.
func (b *benchmark) startClient(server string, c benchCase) (*client, error) {
	k, _ := kindOf(server)
	p, err := b.startServer(k, c)
	if err != nil {
		return nil, err
	}
	n, err := b.newClient(p, c)
	if err == nil {
		err = n.warmUp()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return n, nil
}

func (n *client) end() error {
	n.close()
	return n.server.close()
}

func (r *lookupReport) addRound(hit, read, floor *client, round int) (err error) {
	var one lookupRound
	order := []func() error{
		func() (err error) { one.hit, one.hitCPU, err = hit.timedSlice(r.Connections); return err },
		func() (err error) { one.read, one.readCPU, err = read.timedSlice(r.Connections); return err },
		func() (err error) { one.floor, one.floorCPU, err = floor.timedSlice(r.Connections); return err },
		func() (err error) {
			one.roundTrip, one.roundTripCPU, err = read.roundTrip(r.Connections, r.Concurrency)
			return err
		},
	}
	for i := range order {
		if err := order[(i+round)%len(order)](); err != nil {
			return err
		}
	}
	r.rounds = append(r.rounds, one)
	return nil
}

// timedSlice makes one round's connections, and returns the median of the time to the first byte and the CPU of the server for a
// connection, in microseconds.
func (n *client) timedSlice(connections int) (firstByte, cpu float64, err error) {
	var mu sync.Mutex
	var times []time.Duration
	n.firstByte = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, d)
	}
	used, err := n.slice(connections)
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(times)
	return microseconds(times[len(times)/2]), microseconds(used.CPU) / float64(connections), nil
}

// roundTrip has the server measure bare GETs.
func (n *client) roundTrip(calls, concurrency int) (us, cpu float64, err error) {
	var s sample
	err = n.server.ask(sampleRequest{Connections: n.server.connections, RoundTrips: calls, Concurrency: concurrency}, &s)
	return microseconds(s.RoundTrip), microseconds(s.RoundTripCPU), err
}

func (r *lookupReport) finish() {
	of := func(value func(lookupRound) float64) spread {
		values := make([]float64, len(r.rounds))
		for i, one := range r.rounds {
			values[i] = value(one)
		}
		return spreadOf(values)
	}
	r.Hit = of(func(l lookupRound) float64 { return l.hit })
	r.Read = of(func(l lookupRound) float64 { return l.read })
	r.RoundTrip = of(func(l lookupRound) float64 { return l.roundTrip })
	r.RoundTripCPU = of(func(l lookupRound) float64 { return l.roundTripCPU })
	r.Floor = of(func(l lookupRound) float64 { return l.floor - l.hit })
	r.FloorRatio = of(func(l lookupRound) float64 { return (l.floor - l.hit) / l.roundTrip })
	r.FloorCPU = of(func(l lookupRound) float64 { return l.floorCPU - l.hitCPU })
	r.Added = of(func(l lookupRound) float64 { return l.read - l.hit })
	r.Ratio = of(func(l lookupRound) float64 { return (l.read - l.hit) / l.roundTrip })
	r.AddedCPU = of(func(l lookupRound) float64 { return l.readCPU - l.hitCPU })
}

// addRates measures handshakes per second. There are sessions enough that no two connections at a time resume the same one, which
// would be one lookup.
func (b *benchmark) addRates(r *lookupReport, c benchCase) error {
	many := *b
	many.sessions = max(b.sessions, 4*manyConnections)
	for _, server := range []string{"crypto/tls", hitServer, readServer} {
		if server == readServer && !c.resumed { // as without
			continue
		}
		n, err := many.startClient(server, c)
		if err != nil {
			return err
		}
		n.concurrency = manyConnections
		var rates []float64
		for range max(1, b.rounds/4) {
			begun := time.Now()
			if _, err := n.slice(2 * b.connections); err != nil {
				return errors.Join(err, n.end())
			}
			rates = append(rates, float64(2*b.connections)/time.Since(begun).Seconds())
		}
		if err := n.end(); err != nil {
			return err
		}
		r.Rates = append(r.Rates, rate{c.String(), server, math.Round(spreadOf(rates).Median)})
	}
	return nil
}

// print writes the report for people.
func (r *lookupReport) print(output io.Writer) error {
	row := func(name string, s spread, verdict string) {
		fmt.Fprintf(output, "%-52s %8.2f   %.2f to %.2f   %s\n", name, s.Median, s.Low, s.High, verdict)
	}
	fmt.Fprintf(output, "\n%v, %d rounds of %d connections, %d at a time: median, and where it lies with 95 %%\n",
		lookupCase, r.Rounds, r.Connections, r.Concurrency)
	row("us to the first byte, internal hit", r.Hit, "")
	row("us to the first byte, read from Redis", r.Read, "")
	row("us of a bare GET", r.RoundTrip, "")
	row("us of CPU of a bare GET", r.RoundTripCPU, "")
	row("us added by a bare GET in the handshake", r.Floor, "")
	row("added by it, by bare GET", r.FloorRatio, "")
	row("us of server CPU added by it", r.FloorCPU, "")
	row("us added", r.Added, "")
	row(fmt.Sprintf("added by bare GET (aim: at most %.1f)", maxLookupRatio), r.Ratio, verdictOn(r.Ratio, maxLookupRatio))
	row(fmt.Sprintf("us of server CPU added (aim: at most %.0f)", maxLookupCPU), r.AddedCPU, verdictOn(r.AddedCPU, maxLookupCPU))
	fmt.Fprintf(output, "\nhandshakes per second with %d connections at a time, server and clients on a core each\n", manyConnections)
	for _, one := range r.Rates {
		fmt.Fprintf(output, "%-60s %-20s %6.0f\n", one.Case, one.Server, one.PerSecond)
	}
	return nil
}

func verdictOn(s spread, limit float64) string {
	if s.Median <= limit {
		return "met"
	}
	return "missed"
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
