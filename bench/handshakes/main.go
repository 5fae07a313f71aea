// Handshakes measures what a TLS connection costs a server: CPU time of the server process, user and system, from
// accept to close with an exchange of one byte, on one core. It compares servers that resume from a session cache with one
// that uses the stateless tickets of crypto/tls.
//
// Each server is a process of its own, on one core; the client, this process, is on another. The servers take turns,
// one slice of connections after the other, in another order each round, and a server's cost is divided by that of
// crypto/tls in the same round: the load of the machine changes from second to second, and what is left of it is seen
// in the spread, and in a second crypto/tls server whose ratio should be 1. In each slice the program checks that all
// connections were resumed, or none, with the key exchange group asked for, and what they asked of the store.
//
// Usage:
//
//	go run ./handshakes [flags]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		exit(serve(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "handshakes:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Flags.
type settings struct {
	rounds      int
	connections int
	concurrency int
	sessions    int
	cases       *regexp.Regexp
	servers     *regexp.Regexp
	rsa         bool
	json        bool
	lookups     bool
	profiles    string
	serverCPU   int
	clientCPU   int
}

func parse(arguments []string, output io.Writer) (settings, error) {
	s := settings{cases: regexp.MustCompile(""), servers: regexp.MustCompile("")}
	quick := false
	flags := flag.NewFlagSet("handshakes", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.IntVar(&s.rounds, "rounds", 60, "measure each server `n` times")
	flags.IntVar(&s.connections, "connections", 150, "connections of a server in each round")
	flags.IntVar(&s.concurrency, "concurrency", 4, "connections at a time")
	flags.IntVar(&s.sessions, "sessions", 50, "sessions that each server's clients resume in turn")
	flags.Func("cases", "measure only cases whose name matches `regexp`", setRegexp(&s.cases))
	flags.Func("servers", "measure only servers whose name matches `regexp`, and crypto/tls", setRegexp(&s.servers))
	flags.BoolVar(&s.rsa, "rsa", false, "also measure with an RSA-2048 server key")
	flags.BoolVar(&quick, "quick", false, "a few connections of each kind, to see that it works; the figures mean nothing")
	flags.BoolVar(&s.lookups, "lookups", false, "measure instead what it costs a resumption to read Redis, beside a bare GET")
	flags.BoolVar(&s.json, "json", false, "print the result as JSON")
	flags.StringVar(&s.profiles, "profiles", "", "write CPU and allocation profiles of the servers to `folder`")
	flags.IntVar(&s.serverCPU, "server-cpu", -1, "core of the servers; the first by default")
	flags.IntVar(&s.clientCPU, "client-cpu", -1, "core of the client; the last by default")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	if quick {
		s.rounds, s.connections, s.sessions = 2, 4, 4
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if s.rounds < 1 || s.connections < 1 || s.concurrency < 1 || s.sessions < 1 {
		return s, fmt.Errorf("rounds, connections, concurrency and sessions must be 1 at least")
	}
	return s, nil
}

func setRegexp(to **regexp.Regexp) func(string) error {
	return func(expression string) (err error) {
		*to, err = regexp.Compile(expression)
		return err
	}
}

// run measures what the arguments ask for and prints it.
func run(ctx context.Context, arguments []string, output, messages io.Writer) error {
	s, err := parse(arguments, messages)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := newBenchmark(s, messages)
	if err != nil {
		return err
	}
	defer b.close()
	var r interface{ print(io.Writer) error }
	if s.lookups {
		r, err = b.measureLookups(ctx)
	} else {
		r, err = b.measure(ctx)
	}
	if err != nil {
		return err
	}
	if s.json {
		encoder := json.NewEncoder(output)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.print(output)
}
