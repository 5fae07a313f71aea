package harness

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A Redis is a server of its own for a test, with a password and nothing on disk.
type Redis struct {
	*Process
	// URL has the password in it.
	URL string

	addr, password string
}

// StartRedis starts redis-server and waits until it answers.
func StartRedis(t *testing.T) *Redis {
	t.Helper()
	path := Need(t, "redis-server")
	r := &Redis{addr: freeAddr(t), password: rand.Text()}
	r.URL = fmt.Sprintf("redis://:%s@%s", r.password, r.addr)
	_, port, _ := net.SplitHostPort(r.addr)
	command := exec.Command(path, "-") // settings from its standard input, where no other user sees the password
	command.Dir = t.TempDir()
	command.Stdin = strings.NewReader(fmt.Sprintf("bind 127.0.0.1\nport %s\nrequirepass %s\nsave \"\"\n", port, r.password))
	r.Process = StartProcess(t, command)
	r.Until("Redis to answer", r.answers)
	return r
}

func (r *Redis) answers() bool {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(conn, "AUTH %s\r\n", r.password)
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line == "+OK\r\n"
}

// freeAddr returns a loopback address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
