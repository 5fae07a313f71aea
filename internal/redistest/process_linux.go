package redistest

import (
	"os/exec"
	"syscall"
)

// endWithParent lets a process end when the tests do, even if they were killed.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
