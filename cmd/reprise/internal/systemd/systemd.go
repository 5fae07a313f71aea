// Package systemd speaks the two small protocols between systemd and a service: sockets that are handed over at the
// start (sd_listen_fds(3)), and the notice that the service is ready (sd_notify(3)).
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is the first file descriptor that is handed over.
const firstFD = 3

// Listeners returns the sockets that were handed over to this process, none if it was not started so. It takes them
// out of the environment: a second call returns none, and children do not see them.
func Listeners() ([]net.Listener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, not a number of sockets", count)
	}
	var listeners []net.Listener
	for fd := firstFD; fd < firstFD+n; fd++ {
		l, err := listener(fd)
		if err != nil {
			return nil, fmt.Errorf("socket %d of LISTEN_FDS: %w", fd-firstFD+1, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listener(fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
	defer file.Close()
	return net.FileListener(file)
}

// What [Notify] is told.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify tells systemd the state of the service. It does nothing if nobody waits for that.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
