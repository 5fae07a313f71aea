package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must happen.
const patience = 15 * time.Second

// A world is what a script has made.
type world struct {
	servers map[string]*server
	clients map[string]*client
	redis   map[string]*exec.Cmd
}

type worldKey struct{}

func setup(env *testscript.Env) error {
	vectors, err := filepath.Abs("../../sslsession/testdata")
	if err != nil {
		return err
	}
	env.Setenv("SSLSESSION", vectors)         // sessions that OpenSSL has made
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command waits for a second, of those with the race detector
	env.Values[worldKey{}] = &world{servers: map[string]*server{}, clients: map[string]*client{}, redis: map[string]*exec.Cmd{}}
	return nil
}

func of(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// A server is a process that serves.
type server struct {
	cmd   *exec.Cmd
	log   lockedBuffer
	admin *http.Client
	addrs []string
	ended chan struct{}
}

func (w *world) server(ts *testscript.TestScript, name string) *server {
	s := w.servers[name]
	if s == nil {
		ts.Fatalf("no server %s", name)
	}
	return s
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	cmdStart(ts, neg, args)
	of(ts).server(ts, args[0]).awaitReady(ts)
}

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	name, flags := args[0], args[1:]
	if !slices.Contains(flags, "--state-dir") {
		flags = append(flags, "--state-dir", name)
	}
	if !slices.Contains(flags, "--listen") {
		flags = append(flags, "--listen", "127.0.0.1:0")
	}
	dir := ts.MkAbs(flags[slices.Index(flags, "--state-dir")+1])
	exe, err := os.Executable()
	ts.Check(err)

	s := &server{ended: make(chan struct{}), admin: unixClient(dir + "/admin.sock")}
	s.cmd = exec.Command(exe, append([]string{"serve"}, flags...)...)
	s.cmd.Args[0] = "reprise"
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Stderr = &s.log
	for _, name := range []string{"REPRISE_STORE", "GOCOVERDIR"} {
		if v := ts.Getenv(name); v != "" {
			s.cmd.Env = append(s.cmd.Environ(), name+"="+v)
		}
	}
	ts.Check(s.cmd.Start())
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	ts.Defer(func() { _ = s.cmd.Process.Kill(); <-s.ended })
	of(ts).servers[name] = s
}

// awaitReady waits until the server shows its status.
func (s *server) awaitReady(ts *testscript.TestScript) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var status struct{ Listen []string }
		if body, code, err := s.ask("GET", "/_status"); err == nil && code == http.StatusOK {
			ts.Check(json.Unmarshal(body, &status))
			s.addrs = status.Listen
			return
		}
		select {
		case <-s.ended:
			ts.Fatalf("the server ended:\n%s", s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server does not serve:\n%s", s.log.String())
		}
	}
}

func unixClient(path string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

func (s *server) ask(method, path string) (body []byte, code int, err error) {
	request, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := s.admin.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return body, response.StatusCode, err
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	ts.Check(of(ts).server(ts, args[1]).cmd.Process.Signal(signals[args[0]]))
}

func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts).server(ts, args[0])
	select {
	case <-s.ended:
	case <-time.After(patience):
		ts.Fatalf("the server goes on:\n%s", s.log.String())
	}
	_, _ = ts.Stdout().Write([]byte(s.log.String()))
	if got := strconv.Itoa(s.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("the server ended with %s, want %s:\n%s", got, args[1], s.log.String())
	}
}

func cmdLog(ts *testscript.TestScript, _ bool, args []string) {
	s, pattern := of(ts).server(ts, args[0]), regexp.MustCompile(args[1])
	for deadline := time.Now().Add(patience); !pattern.MatchString(s.log.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("no %q in the log:\n%s", args[1], s.log.String())
		}
	}
}

func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	body, _, err := of(ts).server(ts, args[0]).ask("GET", "/_status")
	ts.Check(err)
	_, _ = ts.Stdout().Write(body)
}

// cmdWritten waits until a server has written all its sessions to Redis, which it does behind the handshakes.
func cmdWritten(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		body, _, err := of(ts).server(ts, args[0]).ask("GET", "/metrics")
		ts.Check(err)
		if bytes.Contains(body, []byte(`queue_length{store="redis"} 0`)) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server does not write its sessions:\n%s", body)
		}
	}
}

func cmdAdmin(ts *testscript.TestScript, _ bool, args []string) {
	body, code, err := of(ts).server(ts, args[0]).ask(args[1], args[2])
	ts.Check(err)
	_, _ = ts.Stdout().Write(body)
	if got := strconv.Itoa(code); got != args[3] {
		ts.Fatalf("answer %s, want %s: %s", got, args[3], strings.TrimSpace(string(body)))
	}
}

// A lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
