package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// A redisServer is a Redis server on a free port of the loopback interface, which keeps nothing.
type redisServer struct {
	command *exec.Cmd
	url     string
}

// errNoRedis is returned where there is no redis-server to be started.
var errNoRedis = errors.New("redis-server is not installed")

// startRedis starts a Redis server on a core. With CI set it must be there.
func startRedis(cpu int, folder string) (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			return nil, err
		}
		return nil, errNoRedis
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	r := &redisServer{url: "redis://" + address.String()}
	r.command = exec.Command(program, "--bind", address.IP.String(), "--port", fmt.Sprint(address.Port),
		"--dir", folder, "--save", "", "--appendonly", "no")
	if err := startOn(cpu, r.command); err != nil {
		return nil, err
	}
	if err := waitFor(address); err != nil {
		r.stop()
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	return r, nil
}

// freeAddress returns an address where nobody listens.
func freeAddress() (*net.TCPAddr, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return listener.Addr().(*net.TCPAddr), listener.Close()
}

// waitFor waits until somebody listens.
func waitFor(address *net.TCPAddr) (err error) {
	for range 100 {
		var conn net.Conn
		if conn, err = net.DialTCP("tcp", nil, address); err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (r *redisServer) stop() {
	r.command.Process.Kill() //nolint:errcheck // it has ended then
	r.command.Wait()         //nolint:errcheck // it was killed
}
