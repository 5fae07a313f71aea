package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"
)

// A benchmark is one run of the program.
type benchmark struct {
	settings
	certificates *certificates
	redis        *redisServer // nil if none of the servers needs it
	folder       string       // for whatever lasts as long as the run
	messages     io.Writer
}

func newBenchmark(s settings, messages io.Writer) (*benchmark, error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	if s.serverCPU < 0 {
		s.serverCPU = cpus[0]
	}
	if s.clientCPU < 0 {
		s.clientCPU = cpus[len(cpus)-1]
	}
	if s.serverCPU == s.clientCPU {
		fmt.Fprintln(messages, "warning: server and client share a core, and each other's caches")
	}
	if err := pinProcess(s.clientCPU); err != nil {
		return nil, err
	}
	if s.profiles != "" {
		if err := os.MkdirAll(s.profiles, 0o777); err != nil {
			return nil, err
		}
	}
	b := &benchmark{settings: s, messages: messages}
	if b.certificates, err = makeCertificates(); err != nil {
		return nil, err
	}
	b.folder, err = os.MkdirTemp("", "handshakes")
	return b, err
}

func (b *benchmark) close() {
	if b.redis != nil {
		b.redis.stop()
	}
	os.RemoveAll(b.folder) //nolint:errcheck // it lies in the folder for temporary files
}

// A report is the result of a run.
type report struct {
	Go          string       `json:"go"`
	Rounds      int          `json:"rounds"`
	Connections int          `json:"connections_per_round"`
	Concurrency int          `json:"concurrency"`
	ServerCPU   int          `json:"server_cpu"`
	ClientCPU   int          `json:"client_cpu"`
	Cases       []caseResult `json:"cases"`
}

type caseResult struct {
	Case    string         `json:"case"`
	Limit   float64        `json:"limit,omitempty"` // of the ratio
	Servers []serverResult `json:"servers"`

	engines, resumed bool
}

// A serverResult is what a server has used in each round, and done in all together.
type serverResult struct {
	Server string `json:"server"`
	// CPU is the time for a connection, in microseconds, Ratio that time divided by that of crypto/tls in the same round.
	CPU   spread `json:"cpu_us"`
	Ratio spread `json:"ratio"`
	// Allocations and Bytes are those of a connection.
	Allocations float64 `json:"allocations"`
	Bytes       float64 `json:"allocated_bytes"`
	// Gets and Puts are calls of the store.
	Gets int `json:"store_gets"`
	Puts int `json:"store_puts"`

	bypass bool
	rounds []float64 // microseconds
}

// measure measures all cases that were asked for.
func (b *benchmark) measure(ctx context.Context) (*report, error) {
	r := &report{
		Go: runtime.Version(), Rounds: b.rounds, Connections: b.connections, Concurrency: b.concurrency,
		ServerCPU: b.serverCPU, ClientCPU: b.clientCPU,
	}
	servers, err := b.chosenServers(kinds)
	if err != nil {
		return nil, err
	}
	engines, err := b.chosenServers(engineKinds)
	if err != nil {
		return nil, err
	}
	for _, c := range cases(b.rsa) {
		if !b.cases.MatchString(c.String()) {
			continue
		}
		of := servers
		if c.engines {
			of = engines
		}
		result, err := b.measureCase(ctx, c, of)
		if isMissing(err) {
			fmt.Fprintf(b.messages, "%v is left out: %v\n", c, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%v: %w", c, err)
		}
		r.Cases = append(r.Cases, *result)
	}
	return r, nil
}

// chosenServers returns those of all servers that are to be measured, and starts what they need.
func (b *benchmark) chosenServers(all []kind) ([]kind, error) {
	chosen := all[:1:1]
	for _, k := range all[1:] {
		if !b.servers.MatchString(k.name) {
			continue
		}
		if k.store == redisStore && b.redis == nil {
			var err error
			if b.redis, err = startRedis(b.clientCPU, b.folder); errors.Is(err, errNoRedis) {
				fmt.Fprintf(b.messages, "%s is left out: %v\n", k.name, err)
				continue
			} else if err != nil {
				return nil, err
			}
		}
		chosen = append(chosen, k)
	}
	return chosen, nil
}

// measureCase measures one case with all servers.
func (b *benchmark) measureCase(ctx context.Context, c benchCase, servers []kind) (r *caseResult, err error) {
	r = &caseResult{Case: c.String(), Limit: c.limit(), engines: c.engines, resumed: c.resumed}
	var clients []*client
	for _, k := range servers {
		if !c.resumed && (k.bypass || k.isPlain()) { // as without; as in a resumption
			continue
		}
		p, err := b.startServer(k, c)
		if isMissing(err) {
			fmt.Fprintf(b.messages, "%s is left out: %v\n", k.name, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		client, err := b.newClient(p, c)
		if err != nil {
			return nil, err
		}
		defer client.close()
		if err := client.warmUp(); err != nil {
			return nil, err
		}
		clients = append(clients, client)
		r.Servers = append(r.Servers, serverResult{Server: k.name, bypass: k.bypass})
	}
	for round := range b.rounds {
		b.progress(c, round)
		for i := range clients {
			i = (i + round) % len(clients)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			used, err := clients[i].slice(b.connections)
			if err != nil {
				return nil, err
			}
			r.Servers[i].add(used, b.connections)
		}
	}
	b.progress(c, b.rounds)
	for i := range r.Servers {
		r.Servers[i].finish(&r.Servers[0])
	}
	r.addFloor()
	return r, nil
}

// slice makes one round's connections with one server and returns what they have cost.
func (n *client) slice(connections int) (used sample, err error) {
	before, err := n.server.sample()
	if err != nil {
		return used, err
	}
	if err := n.connect(connections, n.benchCase.resumed); err != nil {
		return used, err
	}
	after, err := n.server.sample()
	if err != nil {
		return used, err
	}
	used = after.minus(before)
	return used, n.checkStore(used, connections)
}

// checkStore checks what the server has asked of its store.
func (n *client) checkStore(used sample, connections int) error {
	k := n.server.kind
	if k.store == noStore || k.bind == bareHooks {
		return nil
	}
	gets, puts := k.wantsGets(n.benchCase, connections), n.benchCase.wantsPuts(connections)
	if used.Gets != gets || used.Puts != puts || used.Takes+used.Deletes > 0 {
		return fmt.Errorf("server %s made %d gets, %d puts, %d takes and %d deletes of its store in %d connections, want %d gets and %d puts",
			k.name, used.Gets, used.Puts, used.Takes, used.Deletes, connections, gets, puts)
	}
	return nil
}

// add adds a round.
func (r *serverResult) add(used sample, connections int) {
	n := float64(connections)
	r.rounds = append(r.rounds, float64(used.CPU)/n/float64(time.Microsecond))
	r.Allocations += float64(used.Allocations) / n
	r.Bytes += float64(used.Bytes) / n
	r.Gets += used.Gets
	r.Puts += used.Puts
}

// finish computes the result of all rounds.
func (r *serverResult) finish(reference *serverResult) {
	r.CPU, r.Ratio = spreadOf(r.rounds), spreadOf(ratios(r.rounds, reference.rounds))
	r.Allocations = math.Round(r.Allocations / float64(len(r.rounds)))
	r.Bytes = math.Round(r.Bytes / float64(len(r.rounds)))
}

// ratios divides the cost of one server by that of another, round by round.
func ratios(rounds, reference []float64) []float64 {
	all := make([]float64, len(rounds))
	for i := range all {
		all[i] = rounds[i] / reference[i]
	}
	return all
}

// progress says how far the run is: on a terminal each round, else each case.
func (b *benchmark) progress(c benchCase, round int) {
	if f, ok := b.messages.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			end := ""
			if round == b.rounds {
				end = "\n"
			}
			fmt.Fprintf(f, "\r%v: round %d of %d%s", c, round, b.rounds, end)
			return
		}
	}
	if round == 0 {
		fmt.Fprintf(b.messages, "%v: %d rounds\n", c, b.rounds)
	}
}
