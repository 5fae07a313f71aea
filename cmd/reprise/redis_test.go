package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// condition tells whether a program is there, which with CI set it must be, or IPv6.
func condition(name string) (bool, error) {
	program, ok := map[string]string{"redis": "redis-server", "openssl": "openssl"}[name]
	if name == "ipv6" {
		l, err := net.Listen("tcp", "[::1]:0")
		if err == nil {
			_ = l.Close()
		}
		return err == nil, nil
	}
	if !ok {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	_, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("no %s, which Debian has in the package of this name", program)
	}
	return err == nil, nil
}

func cmdRedis(ts *testscript.TestScript, _ bool, args []string) {
	redis := of(ts).redis
	switch args[0] {
	case "-stop":
		stop(redis[args[1]])
		return
	case "-pause":
		paused := redis[args[1]].Process
		ts.Check(paused.Signal(syscall.SIGSTOP))
		time.AfterFunc(500*time.Millisecond, func() { _ = paused.Signal(syscall.SIGCONT) })
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := l.Addr().String()
	ts.Check(l.Close())
	_, port, _ := net.SplitHostPort(addr)

	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--requirepass", "hunter2",
		"--save", "", "--appendonly", "no", "--dir", ts.MkAbs("."))
	ts.Check(cmd.Start())
	redis[args[0]] = cmd
	ts.Defer(func() { stop(cmd) })
	ts.Setenv(args[0], addr)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("redis-server does not listen: %v", err)
		}
	}
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
