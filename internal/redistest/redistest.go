// Package redistest starts servers of Redis for tests: single ones, clusters, and servers that sentinels watch.
package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/internal/certtest"
)

// patience is how long anything may take that is waited for.
const patience = 30 * time.Second

// A Config says how servers are. That of the zero value has no password and speaks no TLS.
type Config struct {
	// Password is that of the user default.
	Password string
	// Authority, if it is not nil, issues the certificates of servers, which then speak nothing but TLS.
	Authority *certtest.Authority
	// Settings are further lines of redis.conf, such as "maxmemory 1mb". They count more than those of this package.
	Settings []string
	// Spares are how many replicas a primary that sentinels watch has besides the one that takes its place.
	Spares int
	// Divisible nodes of a cluster can be cut off. They have no Authority.
	Divisible bool
}

// A Server is a redis-server of its own, on a free loopback port and in a folder of its own. What it has answered to is
// there again when it is killed and restarted, unless the settings say otherwise. It never waits for the disk, which may take longer
// than a lookup may. It ends with the test.
type Server struct {
	// Addr is its address, host and port.
	Addr string
	// Data is the folder of its data.
	Data string

	tb      testing.TB
	config  Config
	path    string
	dir     string
	mode    []string // further arguments
	busPort int      // of a node of a cluster
	bus     *bus     // of a divisible one
	command *exec.Cmd
}

// Start starts a server with further settings, and waits until it answers. Without redis-server the test is skipped; with CI set in
// the environment it fails.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	return Config{Settings: settings}.Start(tb)
}

// Start is like [Start].
func (c Config) Start(tb testing.TB) *Server {
	tb.Helper()
	s := c.launch(tb, freePort(tb))
	s.await()
	return s
}

// launch starts a server and does not wait.
func (c Config) launch(tb testing.TB, port int, settings ...string) *Server {
	tb.Helper()
	s := c.new(tb, port)
	lines := []string{
		"bind 127.0.0.1", fmt.Sprintf("port %d", port), "dir " + s.Data,
		`save ""`, "appendonly yes", "appendfsync no", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
	}
	if c.Password != "" {
		lines = append(lines, fmt.Sprintf("requirepass %q", c.Password), fmt.Sprintf("masterauth %q", c.Password))
	}
	s.configure(slices.Concat(lines, s.tlsSettings(port), settings, c.Settings))
	s.Launch()
	return s
}

// new makes a server that is yet to be configured.
func (c Config) new(tb testing.TB, port int) *Server {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal("redis-server is missing; install the Debian package redis-server")
		}
		tb.Skip("redis-server is missing; install the Debian package redis-server")
	}
	dir := tb.TempDir()
	s := &Server{
		Addr: fmt.Sprintf("127.0.0.1:%d", port), Data: filepath.Join(dir, "data"),
		tb: tb, config: c, path: path, dir: dir,
	}
	if err := os.Mkdir(s.Data, 0o700); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// tlsSettings returns the settings for TLS, if the server speaks that.
func (s *Server) tlsSettings(port int) []string {
	a := s.config.Authority
	if a == nil {
		return nil
	}
	cert, key := certtest.WriteCertificate(s.tb, a.Peer(s.tb, "127.0.0.1"))
	return []string{
		"port 0", fmt.Sprintf("tls-port %d", port), "tls-cert-file " + cert, "tls-key-file " + key,
		"tls-ca-cert-file " + certtest.WriteAuthorities(s.tb, a), "tls-auth-clients no", "tls-replication yes", "tls-cluster yes",
	}
}

// configure writes the file of settings, where no other user sees passwords.
func (s *Server) configure(lines []string) {
	s.tb.Helper()
	if err := os.WriteFile(s.configFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) configFile() string { return filepath.Join(s.dir, "redis.conf") }

// Launch starts the server again after Kill, and does not wait.
func (s *Server) Launch() {
	s.tb.Helper()
	s.command = exec.Command(s.path, append([]string{s.configFile()}, s.mode...)...)
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close()
	s.command.Stdout, s.command.Stderr = log, log
	endWithParent(s.command)
	if err := s.command.Start(); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// await waits until the server answers, which is when it has read its data.
func (s *Server) await() {
	s.tb.Helper()
	s.until("it answers", func() bool {
		answer, _ := s.TryCommand("PING")
		return answer == "PONG"
	})
}

// until waits until f returns true.
func (s *Server) until(what string, f func() bool) {
	s.tb.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			text, _ := os.ReadFile(s.logFile())
			s.tb.Fatalf("waited in vain for redis-server until %s:\n%s", what, text)
		}
	}
}

// URL returns what the Redis store is opened with, as the user default.
func (s *Server) URL() string { return s.URLAs("", s.config.Password) }

// URLAs is URL for another user.
func (s *Server) URLAs(user, password string) string {
	return s.config.urlAs("", user, password, s.Addr)
}

func (c Config) urlAs(deployment, user, password string, addresses ...string) string {
	scheme := "redis"
	if c.Authority != nil {
		scheme = "rediss"
	}
	who := ""
	if password != "" {
		who = url.UserPassword(user, password).String() + "@"
	}
	return scheme + deployment + "://" + who + strings.Join(addresses, ",")
}

// Port returns the port of its address.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// Kill ends the server like a crash. Its data stay.
func (s *Server) Kill() {
	if s.command == nil || s.command.Process == nil {
		return
	}
	_ = s.command.Process.Kill() // an error is that it has ended
	_ = s.command.Wait()
}

// Restart starts the server again after Kill, with its data, and waits until it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Launch()
	s.await()
}

// Signal sends the server a signal: SIGSTOP makes it hang until SIGCONT.
func (s *Server) Signal(signal syscall.Signal) {
	s.tb.Helper()
	if err := s.command.Process.Signal(signal); err != nil {
		s.tb.Fatal(err)
	}
}

// Forget removes the data of a server that was killed.
func (s *Server) Forget() {
	s.tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.Data, "appendonlydir")); err != nil {
		s.tb.Fatal(err)
	}
}

// freePort returns a port that nobody listens at, below those that the system gives to connections and those of conformance/fleet: it
// has to be free still when a server is started again. Until the test ends, no other test gets it, of this process or another: a
// port of the same number for UDP, which no server here uses, is taken as a sign of that.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 2000 + rand.IntN(10000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		sign, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			tb.Cleanup(func() { sign.Close() })
			return port
		}
		sign.Close()
	}
	tb.Fatal("no port is free")
	return 0
}
