// Package redistest starts servers of Redis for tests.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a server may take to answer.
const patience = 30 * time.Second

// A Server is a redis-server of its own, without a password, on a free loopback port and in a folder of its own. It writes
// all that it answers to disk first, and ends with the test.
type Server struct {
	// Addr is its address, host and port.
	Addr string

	tb      testing.TB
	path    string
	dir     string
	command *exec.Cmd
}

// Start starts a server and waits until it answers. Without redis-server the test is skipped; with CI set in the environment
// it fails.
func Start(tb testing.TB) *Server {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal("redis-server is missing; install the Debian package redis-server")
		}
		tb.Skip("redis-server is missing; install the Debian package redis-server")
	}
	s := &Server{Addr: freeAddr(tb), tb: tb, path: path, dir: tb.TempDir()}
	tb.Cleanup(s.Kill)
	s.start()
	return s
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// URL returns what the Redis store is opened with.
func (s *Server) URL() string { return "redis://" + s.Addr }

func (s *Server) start() {
	s.tb.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.command = exec.Command(s.path, "--bind", "127.0.0.1", "--port", port, "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always")
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close()
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for end := time.Now().Add(patience); !s.answers(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			s.tb.Fatalf("redis-server does not answer:\n%s", text)
		}
	}
}

// answers reports whether the server is there and has read its data.
func (s *Server) answers() bool {
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "PING\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, "+PONG")
}

// Kill ends the server like a crash. Its data stay.
func (s *Server) Kill() {
	if s.command == nil || s.command.Process == nil {
		return
	}
	_ = s.command.Process.Kill() // an error is that it has ended
	_ = s.command.Wait()
}

// Restart starts the server again after Kill, with its data.
func (s *Server) Restart() {
	s.tb.Helper()
	s.start()
}

// Forget removes the data of a server that was killed.
func (s *Server) Forget() {
	s.tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "appendonlydir")); err != nil {
		s.tb.Fatal(err)
	}
}
