package listen_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/reprise-tls/reprise/listen"
)

// TestSocketKeepsConnectionsAlive as that of package net does.
func TestSocketKeepsConnectionsAlive(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listen.Socket("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := keepAlive(t, socket), keepAlive(t, plain); got != want {
		t.Errorf("idle time, period, retries and whether it is on: %v, want %v", got, want)
	}
}

// keepAlive returns the settings of a connection that ln accepts.
func keepAlive(t *testing.T, ln net.Listener) (settings [4]int) {
	t.Helper()
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for i, option := range []struct{ level, name int }{
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
		} {
			if settings[i], err = syscall.GetsockoptInt(int(fd), option.level, option.name); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return settings
}
