package systemd_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/systemd"
)

// TestMain lets the test binary play the service: LISTEN_PID must be its own process ID, which only a shell that
// execs it can set.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_SERVICE") != "" {
		service()
		return
	}
	os.Exit(m.Run())
}

// service greets the first client of each socket it was handed.
func service() {
	listeners, err := systemd.Listeners()
	if err != nil {
		fmt.Println(err)
		return
	}
	if again, _ := systemd.Listeners(); len(again) > 0 || os.Getenv("LISTEN_FDS") != "" {
		fmt.Println("handed over twice")
	}
	fmt.Println(len(listeners), "sockets")
	for _, l := range listeners {
		conn, err := l.Accept()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprint(conn, "hello")
		_ = conn.Close()
	}
}

func TestListeners(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := socket.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "SYSTEMD_TEST_SERVICE=1")
	cmd.ExtraFiles = []*os.File{file}
	done := make(chan []byte)
	go func() {
		out, _ := cmd.CombinedOutput()
		done <- out
	}()

	conn, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if greeting, _ := io.ReadAll(conn); string(greeting) != "hello" {
		t.Errorf("the service greeted with %q", greeting)
	}
	if out := <-done; string(out) != "1 sockets\n" {
		t.Errorf("the service said %q", out)
	}
}

func TestSocketsOfAnotherProcessAreNotTaken(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	if listeners, err := systemd.Listeners(); len(listeners) > 0 || err != nil {
		t.Errorf("Listeners() = %v, %v; want none", listeners, err)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := systemd.Notify(systemd.Ready); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := manager.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("the manager got %q, %v", buf[:n], err)
	}

	t.Setenv("NOTIFY_SOCKET", "")
	if err := systemd.Notify(systemd.Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}
