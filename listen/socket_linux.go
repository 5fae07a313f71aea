package listen

import (
	"os"
	"syscall"
	"time"
)

// canInherit tells whether accepted connections have the settings of the socket that listens.
const canInherit = true

// inherit makes the settings that accepted connections inherit.
func inherit(fd int) error {
	for _, option := range []struct{ level, name, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(keepAliveIdle / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(keepAlivePeriod / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveRetries},
	} {
		if err := syscall.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
