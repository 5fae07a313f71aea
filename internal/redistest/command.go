package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Command runs a command of Redis, as the user default, and returns the answer: of an array all parts, with spaces between.
func (s *Server) Command(args ...string) string {
	s.tb.Helper()
	answer, err := s.TryCommand(args...)
	if err != nil {
		s.tb.Fatalf("%s: %v", args[0], err)
	}
	return answer
}

// TryCommand is Command for commands that may fail.
func (s *Server) TryCommand(args ...string) (string, error) {
	conn, err := s.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	in := bufio.NewReader(conn)
	if s.config.Password != "" {
		if _, err := ask(conn, in, "AUTH", s.config.Password); err != nil {
			return "", err
		}
	}
	return ask(conn, in, args...)
}

func (s *Server) dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if a := s.config.Authority; a != nil {
		return tls.DialWithDialer(dialer, "tcp", s.Addr, &tls.Config{RootCAs: a.Pool()})
	}
	return dialer.Dial("tcp", s.Addr)
}

// ask sends a command (RESP2) and reads the answer.
func ask(conn net.Conn, in *bufio.Reader, args ...string) (string, error) {
	command := fmt.Sprintf("*%d\r\n", len(args))
	for _, arg := range args {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, command); err != nil {
		return "", err
	}
	return readAnswer(in)
}

// readAnswer reads an answer. One that is nil is empty.
func readAnswer(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return "", err
	}
	if kind == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(in, text)
		return string(text[:n]), err
	}
	var parts []string
	var failed error
	for range n {
		part, err := readAnswer(in)
		failed = errors.Join(failed, err)
		parts = append(parts, part)
	}
	return strings.Join(parts, " "), failed
}
