package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// Listen listens at an address. A UNIX socket gets mode 0600. One that a killed server has left is replaced; one that a
// server answers at is an error.
func Listen(a Address) (net.Listener, error) {
	if a.Network != "unix" {
		l, err := net.Listen(a.Network, a.Addr)
		return l, hint.With(err, "is another server running? then choose another --admin")
	}
	if err := removeStale(a.Addr); err != nil {
		return nil, err
	}
	l, err := listenPrivately(a.Addr)
	return l, hint.With(err, "the folder of the socket must exist, and this user must be allowed to write there; or choose another --admin")
}

// removeStale removes the socket at path if nobody listens there.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Type() != os.ModeSocket {
		err = fmt.Errorf("%s exists and is no socket", path)
	}
	if err != nil {
		return hint.With(err, "choose another --admin, or move the file away")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return hint.With(fmt.Errorf("another server answers at %s", path),
			"stop it, or give this one a --state-dir or an --admin of its own")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return hint.With(err, "choose another --admin, or remove the socket if no server uses it")
	}
	return os.Remove(path)
}

// listenPrivately makes a socket that only this user can connect to, from its first moment. The umask is one of the
// process; no other file is made at this time of the start.
func listenPrivately(path string) (net.Listener, error) {
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}
