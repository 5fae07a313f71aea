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

// Socket announces on a TCP address as [net.Listen] does, with settings that suit TLS, where the client speaks first. On
// Linux a connection is accepted when the client has sent something, or after ten seconds (TCP_DEFER_ACCEPT in
// tcp(7)), and inherits the keep-alive settings that package net would make with four system calls for each.
func Socket(network, address string) (net.Listener, error) {
	inheritable := net.ListenConfig{KeepAlive: -1, Control: control}
	if !canInherit {
		inheritable = net.ListenConfig{}
	}
	return inheritable.Listen(context.Background(), network, address)
}

// Settings of a socket.
const (
	acceptDelay      = 10 * time.Second // at most, for a client that does not speak
	keepAliveIdle    = 15 * time.Second // these three are the defaults of package net
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
