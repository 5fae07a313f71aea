package harness

import (
	"bytes"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take that is waited for.
const Patience = 30 * time.Second

// A Process is a running program. What it writes to its standard error is in the log of the test.
type Process struct {
	t       *testing.T
	command *exec.Cmd
	log     *log
	ended   chan struct{} // closed when it has ended
	err     error         // of its end
}

// StartProcess starts a command. If it still runs when the test ends, it is killed.
func StartProcess(t *testing.T, command *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, command: command, log: &log{out: t.Output()}, ended: make(chan struct{})}
	command.Stderr = p.log
	command.WaitDelay = time.Second
	endWithParent(command)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process as a crash would (SIGKILL) and waits for its end.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it has ended already
	<-p.ended
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v: %v", p.command.Path, s, err)
	}
}

// Ended returns a channel that is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits until the process has ended, and returns the error that it ended with: nil for status 0.
func (p *Process) Wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(Patience):
		p.t.Fatalf("%s still runs after %v", p.command.Path, Patience)
		return nil
	}
}

// Until waits until done returns true. The test fails if that takes too long, or the process ends before.
func (p *Process) Until(what string, done func() bool) {
	p.t.Helper()
	until(p.t, what, func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("waiting for %s: %s has ended: %v", what, p.command.Path, p.err)
		default:
		}
		return done()
	})
}

// until waits until done returns true, and asks often.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", Patience, what)
		}
	}
}

// A log is what a process has written, and passes it on.
type log struct {
	out io.Writer

	mu      sync.Mutex
	written bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written.Write(b)
	return l.out.Write(b)
}

func (l *log) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.written.Bytes(), []byte(text))
}

// forget empties the log, so that contains tells of what comes next.
func (l *log) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written.Reset()
}
