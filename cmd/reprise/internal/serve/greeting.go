package serve

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// greet says where the server is, and without a backend how to try it.
func (s *server) greet(out io.Writer) {
	s.log.Info("serving", "listen", s.addresses(), "store", s.settings.Store.URL.String(), "admin", s.adminAddr,
		"node", s.settings.Operation.Node, "version", s.version)
	if s.settings.Backend.Target != nil {
		return
	}
	addr := reachable(s.listeners[0].Addr())
	fmt.Fprintf(out, `
Serving https://%[1]s/. Try it from another terminal:

  curl -k --http1.1 https://%[1]s/ https://%[1]s/

  for s in -sess_out -sess_in; do printf 'GET / HTTP/1.0\r\n\r\n' |
    openssl s_client -quiet -connect %[1]s $s /tmp/session.pem; done

%[2]s`, addr, s.listCommand())
}

// reachable returns an address that a client on this host can connect to.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// listCommand is the line of the greeting that lists the sessions of this server; empty if it has no admin interface.
func (s *server) listCommand() string {
	if s.settings.Operation.AdminAddress == nil {
		return ""
	}
	command := []string{os.Args[0], "sessions", "list"}
	if s.settings.Operation.Admin != "" {
		command = append(command, "--admin", s.settings.Operation.Admin)
	} else if dir := s.settings.Store.StateDir; dir != "state" {
		command = append(command, "--state-dir", dir)
	}
	return "  " + strings.Join(command, " ") + "\n\n"
}
