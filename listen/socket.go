package listen

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"

	"github.com/reprise-tls/reprise"
)

// Listen announces on a TCP address and returns a [Listener] of it, as [tls.Listen] does for crypto/tls. Its socket is
// that of [Socket].
func Listen(network, address string, config *tls.Config, cache *reprise.Cache, o Options) (*Listener, error) {
	inner, err := Socket(network, address)
	if err != nil {
		return nil, err
	}
	l, err := New(inner, config, cache, o)
	if err != nil {
		inner.Close()
		return nil, err
	}
	return l, nil
}

// Socket announces on a TCP address as [net.Listen] does. On Linux accepted connections inherit the keep-alive settings, for which
// package net would make four system calls for each.
func Socket(network, address string) (net.Listener, error) {
	inheritable := net.ListenConfig{KeepAlive: -1, Control: control}
	if !canInherit {
		inheritable = net.ListenConfig{}
	}
	return inheritable.Listen(context.Background(), network, address)
}

// Settings of a socket, the defaults of package net.
const (
	keepAliveIdle    = 15 * time.Second
	keepAlivePeriod  = 15 * time.Second
	keepAliveRetries = 9
)

// control makes the settings of a socket that is to listen.
func control(_, _ string, socket syscall.RawConn) (err error) {
	controlErr := socket.Control(func(fd uintptr) { err = inherit(int(fd)) })
	if err == nil {
		err = controlErr
	}
	return err
}
