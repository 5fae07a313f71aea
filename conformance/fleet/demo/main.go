// Demo runs a fleet on this machine and shows what becomes of its clients' connections.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/reprise-tls/reprise/conformance/fleet"
)

const usage = `Usage: demo [flags]

Run a fleet on this machine: three nodes of 'reprise serve' behind a TCP balancer
that knows nothing of TLS, on a Redis Cluster of three masters, each with a
replica. Clients of crypto/tls, curl and openssl come back again and again, to
whichever node has its turn, and resume there. Now and then a node is stopped
with SIGTERM, and started again: the balancer notices by its /healthz.

Needs redis-server and redis-cli; curl and openssl if they are there. Ctrl-C ends
it. All processes and files are gone then.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// errUsage: the command line is wrong, and that has been said.
var errUsage = errors.New("wrong command line")

type settings struct {
	program  string
	duration time.Duration
	restart  time.Duration
	clients  int
}

func parse(arguments []string) (s settings, err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.program, "reprise", "bin/reprise", "the `program`, which 'make build' makes")
	flags.DurationVar(&s.duration, "for", 0, "end after this `time`; 0 is never")
	flags.DurationVar(&s.restart, "restart", 10*time.Second, "restart a node so `often`; 0 is never")
	flags.IntVar(&s.clients, "clients", 12, "clients of crypto/tls; `n` more or less load")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, errUsage
	}
	if flags.NArg() > 0 || s.duration < 0 || s.restart < 0 || s.clients < 0 {
		fmt.Fprintln(os.Stderr, "demo: no arguments, and nothing negative, please; -help tells more")
		return s, errUsage
	}
	return s, nil
}

func run(ctx context.Context, arguments []string) (err error) {
	s, err := parse(arguments)
	if err != nil {
		return err
	}
	if s.program, err = exec.LookPath(s.program); err != nil {
		return fmt.Errorf("%w; 'make build' makes it, and -reprise says where it is", err)
	}
	if s.program, err = filepath.Abs(s.program); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "reprise-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return s.show(ctx, dir)
}

// show runs the fleet until ctx is done or the time is over.
func (s settings) show(ctx context.Context, dir string) error {
	fmt.Println("Starting a Redis Cluster of six and a fleet of three …")
	cluster, err := fleet.StartCluster(dir)
	if err != nil {
		return err
	}
	defer cluster.Close()
	if ctx.Err() != nil {
		return nil
	}
	f, err := fleet.Start(fleet.Options{
		Program: s.program, Dir: dir, Store: cluster.URL(), Names: []string{"north", "east", "south"},
		Flags: []string{"--drain-delay", "300ms"},
	})
	if err != nil {
		return err
	}
	defer f.Close()
	load := f.StartLoad(s.mix())
	defer load.Stop()
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	failed := make(chan error, 1)
	if s.restart > 0 {
		go func() { failed <- roll(ctx, f.Nodes, s.restart) }()
	}
	return newScreen(f, load).run(ctx, failed)
}

// mix is what clients there are.
func (s settings) mix() fleet.Mix {
	m := fleet.Mix{GoTLS13: (s.clients + 1) / 2, GoTLS12: s.clients / 2}
	if _, err := exec.LookPath("curl"); err == nil {
		m.CurlTLS13, m.CurlTLS12 = 1, 2
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		m.OpenSSLTLS13, m.OpenSSLTLS12 = 1, 1
	}
	return m
}

// roll restarts one node after the other, so often, until ctx is done.
func roll(ctx context.Context, nodes []*fleet.Node, every time.Duration) error {
	for i := 0; ; i++ {
		if !sleep(ctx, every) {
			return nil
		}
		n := nodes[i%len(nodes)]
		if err := n.Stop(); err != nil {
			return err
		}
		if !sleep(ctx, time.Second) { // long enough to see
			return nil
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
}

// sleep returns false if ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
