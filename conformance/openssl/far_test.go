package openssl_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/reprise-tls/reprise"
)

// playReprise has player play scenarios with Reprise as the server, on an engine of package listen.
func playReprise(t *testing.T, scenarios, engine string, flags ...string) traces {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer theirs.Close()
	control, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	var served sync.WaitGroup
	defer served.Wait()
	defer control.Close()
	served.Go(func() { serveSteps(t, control, engine) })
	return play(t, scenarios, theirs, flags...)
}

// serveSteps plays the server's part of the steps that player tells of, until it hangs up.
func serveSteps(t *testing.T, control net.Conn, engine string) {
	p := newPerformer(t, control, engine)
	lines := bufio.NewScanner(control)
	for lines.Scan() {
		if err := p.step(parseStep(lines.Text())); err != nil {
			p.print("%s", verdict(err))
		} else {
			p.print(".")
		}
	}
	p.end()
}

// An unplayable error says that the engine, or Reprise, has nothing that does what a step asks for. It is a key of the table of
// differences.
type unplayable string

func (u unplayable) Error() string { return "unplayable: " + string(u) }

// verdict is the last line of the answer to a step that could not be played.
func verdict(err error) string {
	if key, ok := err.(unplayable); ok { //nolint:errorlint // nobody wraps it
		return "! " + string(key)
	}
	return "? " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

// A step is a line of a scenario: words, and settings written name=value. The names of sessions in it are #HEX.
type step struct {
	words    []string
	settings map[string]string
}

func parseStep(line string) step {
	s := step{settings: map[string]string{}}
	for field := range strings.FieldsSeq(line) {
		if name, value, ok := strings.Cut(field, "="); ok {
			s.settings[name] = value
		} else {
			s.words = append(s.words, field)
		}
	}
	return s
}

// word returns a word of the step, "" if there is none.
func (s step) word(i int) string {
	if i < len(s.words) {
		return s.words[i]
	}
	return ""
}

// number returns a word as a number, 0 if it is none.
func (s step) number(i int) int {
	n, err := strconv.Atoi(s.word(i))
	if err != nil {
		return 0
	}
	return n
}

// idOf returns the session ID that #HEX means.
func idOf(s string) (reprise.SessionID, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "#"))
	if err != nil {
		return reprise.SessionID{}, err
	}
	return reprise.MakeSessionID(b)
}

func nameOf(id reprise.SessionID) string {
	if id.IsZero() {
		return "empty"
	}
	return fmt.Sprintf("#%x", id.Bytes())
}
