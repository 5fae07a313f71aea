package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// engineKinds are the servers that package native is compared with, by a client of libssl. As in kinds, the first is what
// the others' ratio is to.
var engineKinds = []kind{
	{name: "crypto/tls, ticket"},
	{name: "crypto/tls again, ticket"},
	{name: "listen native, session ID", bind: withNativeListener, sessionID: true},
	{name: "listen native, ticket", bind: withNativeListener},
	{name: "native.Server, session ID", bind: bareNative, sessionID: true},
	{name: "native.Server, ticket", bind: bareNative},
	{name: "listen native, session ID, WriteLast", bind: withNativeListener, sessionID: true, writesLast: true},
	{name: nginxName, bind: nginxProgram, sessionID: true},
	{name: libsslName, bind: libsslProgram, sessionID: true},
	{name: plainGoName, bind: plainGo},
	{name: plainCName, bind: plainC},
}

const (
	nginxName   = "nginx, session ID"
	libsslName  = "libssl, session ID"
	plainGoName = "TCP alone, Go"
	plainCName  = "TCP alone, C"
)

// mechanism is how the clients of a server resume.
func (k kind) mechanism() string {
	switch {
	case k.isPlain():
		return "none"
	case k.sessionID:
		return "session-id"
	default:
		return "ticket"
	}
}

// request is what the clients of a server send.
func (k kind) request() string {
	if k.bind == nginxProgram {
		return "GET / HTTP/1.0\r\n\r\n"
	}
	return "x"
}

// isProgram tells whether a server is a program that can't be asked for a sample.
func (k kind) isProgram() bool {
	return k.bind == nginxProgram || k.bind == libsslProgram || k.bind == plainC
}

// isMissing tells whether an error says that a server's program is not there.
func isMissing(err error) bool { return errors.Is(err, errNoNginx) || errors.Is(err, errNoLibssl) }

// startProgram starts a server that is a program of its own.
func (b *benchmark) startProgram(k kind, c benchCase) (*serverProcess, error) {
	setup, err := b.setup(k, c)
	if err != nil {
		return nil, err
	}
	p := &serverProcess{kind: k}
	if k.bind == nginxProgram {
		return p, b.startNginx(p, setup)
	}
	return p, b.startLibssl(p, setup)
}

func (b *benchmark) startNginx(p *serverProcess, setup serverSetup) error {
	command, address, err := b.nginxServer(setup)
	if err != nil {
		return err
	}
	command.Stderr = b.messages
	p.command, p.address = command, address.String()
	if err := startOn(b.serverCPU, command); err != nil {
		return err
	}
	return waitFor(address)
}

func (b *benchmark) startLibssl(p *serverProcess, setup serverSetup) error {
	command, err := b.libsslServer(p.kind, setup)
	if err != nil {
		return err
	}
	command.Stderr = b.messages
	if p.requests, err = command.StdinPipe(); err != nil {
		return err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	p.command = command
	if err := startOn(b.serverCPU, command); err != nil {
		return err
	}
	port, err := bufio.NewReader(output).ReadString('\n')
	p.address = "127.0.0.1:" + strings.TrimSpace(port)
	return err
}

// sampleProgram measures a program from outside, when its clients have seen the end of their streams.
func (p *serverProcess) sampleProgram() (s sample, err error) {
	time.Sleep(settleTime)
	s.CPU, err = processTime(p.command)
	return s, err
}

// processTime returns the CPU time, user and system, that a process has used in all its threads.
func processTime(command *exec.Cmd) (time.Duration, error) {
	var now unix.Timespec
	const schedulerClock = 2                                        // CPUCLOCK_SCHED of the kernel
	clock := int32(^command.Process.Pid)<<3 | int32(schedulerClock) // clock_getcpuclockid(3)
	if err := unix.ClockGettime(clock, &now); err != nil {
		return 0, fmt.Errorf("clock of process %d: %w", command.Process.Pid, err)
	}
	return time.Duration(now.Nano()), nil
}

// The aims of package native: what its cost may be of that of other servers, at most.
const (
	limitOfStandard        = 0.90
	limitOfStandardResumed = 0.80 // by session ID
	limitOfNginx           = 0.90 // resumed, by session ID
	limitOfLibssl          = 0.95 // resumed, by session ID
)

// printEngines writes the results of a case that compares engines.
func (c caseResult) printEngines(w io.Writer) {
	fmt.Fprintln(w, "server\tus\tto crypto/tls\tp10 to p90\tmedian, 95 %\tto nginx\tmedian, 95 %\tto libssl\tmedian, 95 %\tallocations\tbytes\t")
	for _, s := range c.Servers {
		fmt.Fprintf(w, "%s\t%.0f\t%.3f\t%.3f to %.3f\t%.3f to %.3f\t", s.Server,
			s.CPU.Median, s.Ratio.Median, s.Ratio.P10, s.Ratio.P90, s.Ratio.Low, s.Ratio.High)
		for _, peer := range []string{nginxName, libsslName} {
			if ratio, ok := c.ratioTo(s, peer); ok {
				fmt.Fprintf(w, "%.3f\t%.3f to %.3f\t", ratio.Median, ratio.Low, ratio.High)
			} else {
				fmt.Fprint(w, "\t\t")
			}
		}
		fmt.Fprintf(w, "%.0f\t%.0f\t%s\n", s.Allocations, s.Bytes, c.engineVerdict(s))
	}
}

// ratioTo returns the spread of the ratio to another server, if that one was measured.
func (c caseResult) ratioTo(s serverResult, peer string) (spread, bool) {
	for i := range c.Servers {
		if p := &c.Servers[i]; p.Server == peer {
			return spreadOf(ratios(s.rounds, p.rounds)), true
		}
	}
	return spread{}, false
}

// engineVerdict says whether a server of package native meets its aims.
func (c caseResult) engineVerdict(s serverResult) string {
	k, _ := kindOf(s.Server)
	if k.bind != withNativeListener && k.bind != bareNative {
		return ""
	}
	byID := c.resumed && k.sessionID
	limit := limitOfStandard
	if byID {
		limit = limitOfStandardResumed
	}
	var missed []string
	check := func(ratio spread, limit float64, of string) {
		if ratio.Median > limit {
			missed = append(missed, fmt.Sprintf("%.2f of %s", limit, of))
		}
	}
	check(s.Ratio, limit, "crypto/tls")
	if nginx, ok := c.ratioTo(s, nginxName); ok && byID {
		check(nginx, limitOfNginx, "nginx")
	}
	if libssl, ok := c.ratioTo(s, libsslName); ok && byID {
		check(libssl, limitOfLibssl, "libssl")
	}
	if missed == nil {
		return "met"
	}
	return "missed " + strings.Join(missed, ", ")
}
