// Package admin is how a running server is looked at and told what to do: HTTP on a UNIX socket or on loopback.
package admin

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// An Address is where the admin interface of a server is reached.
type Address struct {
	// Network is "unix" or "tcp".
	Network string
	// Addr is the path of the socket, or a host and a port.
	Addr string
}

// maxSocketPath is the length of the longest path that a UNIX socket can have on Linux.
const maxSocketPath = 107

const addressHint = "such as --admin unix:/run/reprise/admin.sock or --admin 127.0.0.1:9443"

// ParseAddress reads unix:PATH or HOST:PORT. Unless allowUnsafe is set, the host must be a loopback address.
func ParseAddress(raw string, allowUnsafe bool) (Address, error) {
	if path, ok := strings.CutPrefix(raw, "unix:"); ok {
		switch {
		case path == "":
			return Address{}, hint.With(errors.New("--admin unix: without a path"), addressHint)
		case len(path) > maxSocketPath:
			return Address{}, hint.With(fmt.Errorf("--admin: the path of a socket can have %d bytes, this one has %d", maxSocketPath, len(path)),
				"choose a shorter path for --admin or --state-dir")
		}
		return Address{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(raw)
	if err == nil {
		if _, portErr := net.LookupPort("tcp", port); portErr != nil {
			err = errors.New("the port must be a number from 0 to 65535")
		}
	}
	if err != nil {
		return Address{}, hint.With(fmt.Errorf("--admin %s: %w", raw, err), addressHint)
	}
	ip := net.ParseIP(host)
	if !allowUnsafe && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return Address{}, hint.With(fmt.Errorf("--admin %s: not on loopback, and whoever reaches it can remove all sessions", raw),
			"use unix:PATH or 127.0.0.1:PORT; or add --unsafe-admin if the network is safe")
	}
	return Address{"tcp", raw}, nil
}

// String returns the address in the form that [ParseAddress] reads.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Addr
	}
	return a.Addr
}
