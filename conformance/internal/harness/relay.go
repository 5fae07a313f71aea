package harness

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Relay passes TCP connections on, each to the address that next returns for it, and returns the address where it
// accepts them. It is the load balancer in front of a fleet. An empty address closes the connection. Connections pass one
// after the other: when next is called, the servers have seen the end of the one before.
func Relay(t *testing.T, next func() string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			pass(client, next())
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// pass passes on both directions until both have ended.
func pass(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var directions sync.WaitGroup
	directions.Go(func() { passOneWay(server, client) })
	directions.Go(func() { passOneWay(client, server) })
	directions.Wait()
}

// passOneWay copies until the end of from, and passes that on too.
func passOneWay(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a connection that breaks off ends like any other
	_ = to.(*net.TCPConn).CloseWrite()
}
