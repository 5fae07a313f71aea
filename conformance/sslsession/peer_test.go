package sslsession_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// patience is how long a process may take.
const patience = time.Minute

// program is testdata/peer.c.
var program = harness.LibsslProgram{Sources: "testdata/peer.c"}

// frame puts sessions into the form that peer reads.
func frame(sessions ...[]byte) []byte {
	var b []byte
	for _, s := range sessions {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// converted is what libssl made of a session: how many bytes it read, 0 if it refused them, and what it wrote.
type converted struct {
	read    int
	written []byte
}

// convert has libssl read and write sessions.
func convert(t *testing.T, sessions [][]byte) []converted {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, program.Path(t), "convert")
	command.Stdin = bytes.NewReader(frame(sessions...))
	command.Stderr = t.Output()
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	results := make([]converted, 0, len(sessions))
	for len(output) >= 8 {
		read, n := binary.BigEndian.Uint32(output), int(binary.BigEndian.Uint32(output[4:]))
		results = append(results, converted{int(read), output[8 : 8+n]})
		output = output[8+n:]
	}
	if len(results) != len(sessions) {
		t.Fatalf("%d answers for %d sessions", len(results), len(sessions))
	}
	return results
}

// A peer is libssl as one side of a connection.
type peer struct {
	t       *testing.T
	command *exec.Cmd
	output  bytes.Buffer
}

// startPeer starts peer in a role with settings, its side of a connection, and sessions to offer or to find.
func startPeer(t *testing.T, role string, connection *os.File, sessions [][]byte, settings ...string) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &peer{t: t, command: exec.CommandContext(ctx, program.Path(t), append([]string{role}, settings...)...)}
	p.command.Stdin = bytes.NewReader(frame(sessions...))
	p.command.Stdout = &p.output
	p.command.Stderr = t.Output()
	p.command.ExtraFiles = []*os.File{connection}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	connection.Close()
	return p
}

// A report is what peer tells of a connection.
type report struct {
	version  string
	resumed  bool
	early    bool // early data was accepted
	verify   string
	name     string
	peer     []byte   // certificate
	found    int      // lookups that found a session
	absent   int      // lookups that did not
	sessions [][]byte // new ones, the last one last
	err      string
}

// wait waits for the end of the connection.
func (p *peer) wait() report {
	p.t.Helper()
	waitErr := p.command.Wait()
	var r report
	for line := range strings.Lines(p.output.String()) {
		what, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch what {
		case "version":
			r.version = value
		case "resumed":
			r.resumed = value == "1"
		case "early":
			r.early = value == "1"
		case "verify":
			r.verify = value
		case "name":
			r.name = value
		case "peer":
			r.peer = p.unhex(value)
		case "new":
			r.sessions = append(r.sessions, p.unhex(value))
		case "error":
			r.err = value
		case "get":
			if value == "found" {
				r.found++
			} else {
				r.absent++
			}
		}
	}
	if waitErr != nil && r.err == "" {
		p.t.Fatalf("peer: %v\n%s", waitErr, p.output.String())
	}
	return r
}

func (p *peer) unhex(s string) []byte {
	p.t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// newPair returns both ends of a connection, for processes.
func newPair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
}

// newConn returns both ends of a connection: one for this process, with a deadline, one for another.
func newConn(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	a, b := newPair(t)
	defer a.Close()
	conn, err := net.FileConn(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn, b
}
