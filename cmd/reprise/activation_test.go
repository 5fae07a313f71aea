package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSocketActivation plays systemd: it hands over a socket, waits for the notice that the server is ready, and for
// the one that it stops.
func TestSocketActivation(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := socket.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "reprise") // TestMain goes by the name
	if err := os.Symlink(exe, program); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out strings.Builder
	cmd := exec.CommandContext(ctx, "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --self-signed`, program)
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Join(dir, "state"), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	expectNotice(t, notices, "READY=1", ended)
	conn, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); !strings.Contains(string(answer), `"reason":"not-offered"`) {
		t.Errorf("answer %q", answer)
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "fleet.key")); err != nil {
		t.Errorf("the state folder is not the one of systemd: %v", err)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expectNotice(t, notices, "STOPPING=1", ended)
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v:\n%s", err, out.String())
	}
}

func expectNotice(t *testing.T, notices *net.UnixConn, want string, ended <-chan error) {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 100)
		n, _ := notices.Read(buf)
		got <- string(buf[:n])
	}()
	select {
	case notice := <-got:
		if notice != want {
			t.Fatalf("notice %q, want %q", notice, want)
		}
	case err := <-ended:
		t.Fatalf("the server ended with %v before %s", err, want)
	}
}
