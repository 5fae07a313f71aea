package redisstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// A server is a redis-server of its own, on a free port of the loopback interface.
type server struct {
	t        testing.TB
	args     []string
	port     int
	busPort  int    // of a node of a cluster
	password string // of the user default, if that needs one
	ready    string // what it writes when it is ready: to its log, or else to its output
	log      string
	cmd      *exec.Cmd

	starts int
}

// portArgument stands for the server's port in its arguments.
const portArgument = "{port}"

// startServer starts a server that forgets nothing when it is killed. It ends with the test.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startWith(t, freePort(t), append([]string{
		"--port", portArgument, "--bind", "127.0.0.1", "--dir", t.TempDir(),
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}, args...), "Ready to accept connections")
}

// startWith starts a redis-server with these arguments alone.
func startWith(t testing.TB, port int, args []string, ready string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is missing; install the Debian package redis-server")
		}
		t.Skip("redis-server is not installed; install the Debian package redis-server")
	}
	s := &server{t: t, args: args, port: port, ready: ready, log: filepath.Join(t.TempDir(), "log")}
	for i := range s.args {
		s.args[i] = strings.ReplaceAll(s.args[i], portArgument, fmt.Sprint(s.port))
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.starts++
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		log, _ := os.ReadFile(s.log)
		if bytes.Count(log, []byte(s.ready)) == s.starts {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("redis-server is not ready:\n%s", log)
		}
	}
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// dir returns the folder of the server's data.
func (s *server) dir() string { return s.args[slices.Index(s.args, "--dir")+1] }

// kill ends the server like a crash.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // an error is that it has ended
	_ = s.cmd.Wait()
}

// signal sends the server a signal: SIGSTOP makes it hang until SIGCONT.
func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// freePort returns a port that nobody listens on, below those that the system gives to connections: it has to be free still when a
// server is started again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + mathrand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func open(t *testing.T, url string, options redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// An authority is a certificate authority with one certificate for 127.0.0.1, in files for redis-server.
type authority struct {
	roots     *x509.CertPool
	cert, key string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redis"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{roots: x509.NewCertPool(), cert: writePEM(t, "CERTIFICATE", der), key: writePEM(t, "PRIVATE KEY", keyDER)}
	a.roots.AddCert(cert)
	return a
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
