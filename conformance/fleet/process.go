package fleet

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long anything may take that is waited for.
const patience = 30 * time.Second

// A process is a program that runs. What it prints is in its log.
type process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{} // closed when it has ended
	err     error         // of its end
}

func startProcess(log string, command *exec.Cmd) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p := &process{command: command, log: log, ended: make(chan struct{})}
	command.Stdout, command.Stderr = output, output
	endWithParent(command)
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process as a crash would, and waits for its end.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it has ended already
	<-p.ended
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.command.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %v: %w", p.command.Path, s, err)
	}
	return nil
}

// wait waits for the end of the process, and returns the error that it ended with: nil for status 0.
func (p *process) wait() error {
	select {
	case <-p.ended:
		if p.err != nil {
			return p.failed(p.err.Error())
		}
		return nil
	case <-time.After(patience):
		return p.failed(fmt.Sprintf("still runs after %v", patience))
	}
}

// until waits until the process has got so far.
func (p *process) until(what string, done func() bool) error {
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.ended:
			return p.failed(fmt.Sprintf("has ended before %s: %v", what, p.err))
		default:
		}
		if time.Now().After(end) {
			return p.failed(fmt.Sprintf("waited %v for %s", patience, what))
		}
	}
	return nil
}

// failed returns an error with the end of the log.
func (p *process) failed(what string) error {
	const most = 2000
	log, _ := os.ReadFile(p.log)
	log = log[max(0, len(log)-most):]
	return fmt.Errorf("%s: %s\n%s", filepath.Base(p.command.Path), what, strings.TrimSpace(string(log)))
}

// Ports are taken from a range below that which the kernel gives to clients, so that a server which is started again finds its
// port free. The one that a cluster's nodes speak to each other by is 10000 higher.
const (
	firstPort = 12000
	numPorts  = 10000
)

var lastPort atomic.Uint32

// freePort returns a port of the loopback interface that is free, and so is the one 10000 above.
func freePort() int {
	lastPort.CompareAndSwap(0, uint32(os.Getpid())*131) // apart from those of other processes
	for {
		port := firstPort + int(lastPort.Add(1)%numPorts)
		if isFree(port) && isFree(port+10000) {
			return port
		}
	}
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
