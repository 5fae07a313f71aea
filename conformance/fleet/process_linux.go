package fleet

import (
	"os/exec"
	"syscall"
)

// endWithParent lets a process end when this one does, however it does. An interrupt from the terminal goes to this one alone.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
