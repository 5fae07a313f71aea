package harness

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// An Answer is what the program says about a connection.
type Answer struct {
	Resumed     bool   `json:"resumed"`
	Mechanism   string `json:"mechanism"`
	Reason      string `json:"reason"`
	Engine      string `json:"engine"`
	TLSVersion  string `json:"tls_version"`
	CipherSuite string `json:"cipher_suite"`
	Session     string `json:"session"`
	NewSession  string `json:"new_session"`
	SessionAge  int    `json:"session_age_seconds"`
	LineageAge  int    `json:"lineage_age_seconds"`
	Generation  int    `json:"generation"`
	Node        string `json:"node"`
	ServerName  string `json:"server_name"`
}

// A Server is 'reprise serve' with a state folder of its own and the certificate of [NewFiles].
type Server struct {
	*Process
	// Addr is where it listens, the same after each restart.
	Addr string

	t        *testing.T
	stateDir string
	flags    []string
	admin    http.Client
}

// StartServer starts a server and waits until it is ready. It is killed when the test ends.
func StartServer(t *testing.T, files *Files, flags ...string) *Server {
	t.Helper()
	s := &Server{t: t, Addr: "127.0.0.1:0", stateDir: filepath.Join(t.TempDir(), "state")}
	// A busy machine must not make a full handshake out of a slow lookup.
	s.flags = append([]string{"--cert", files.Cert, "--key", files.Key, "--lookup-timeout", Patience.String()}, flags...)
	s.admin.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.stateDir, "admin.sock"))
		},
	}
	s.start(nil)
	s.Addr = s.Status().Listen[0]
	return s
}

// Restart starts a server that has ended, with the same folder and address. The flags go for this time only, and before
// those given at first.
func (s *Server) Restart(flags ...string) {
	s.t.Helper()
	s.start(flags)
}

func (s *Server) start(flags []string) {
	s.t.Helper()
	args := slices.Concat([]string{"serve", "--listen", s.Addr, "--state-dir", s.stateDir}, s.flags, flags)
	s.Process = StartProcess(s.t, exec.Command(program, args...))
	s.Until("the server to be ready", s.isHealthy)
}

func (s *Server) isHealthy() bool {
	response, err := s.admin.Get("http://localhost/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Stop ends the server as its operator would (SIGTERM), and checks that it ends well.
func (s *Server) Stop() {
	s.t.Helper()
	s.Signal(syscall.SIGTERM)
	if err := s.Wait(); err != nil {
		s.t.Errorf("after SIGTERM the server ended with %v, want status 0", err)
	}
	if s.log.contains("cut off") || s.log.contains("level=ERROR") {
		s.t.Error("after SIGTERM the server had to give something up; see its log")
	}
}

// Reload has the server read certificates and keys again, and waits until it has.
func (s *Server) Reload() {
	s.t.Helper()
	s.log.forget()
	s.Signal(syscall.SIGHUP)
	s.Until("the certificates to be loaded", func() bool { return s.log.contains("certificates loaded") })
}

// A Status is a part of what the server says about itself.
type Status struct {
	Listen []string `json:"listen"`
	Cache  struct {
		Sessions int            `json:"sessions"`
		Outcomes map[string]int `json:"outcomes"`
		Removals map[string]int `json:"removals"`
	} `json:"cache"`
}

// Status returns the server's status.
func (s *Server) Status() (status Status) {
	s.t.Helper()
	response, err := s.admin.Get("http://localhost/_status")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		s.t.Fatal(err)
	}
	return status
}

// An Entry is a part of what 'reprise sessions list --json' says of a session.
type Entry struct {
	Session string `json:"session"`
	Cached  bool   `json:"cached"`
	Stored  bool   `json:"stored"`
}

// List returns the sessions of the server.
func (s *Server) List() (entries []Entry) {
	s.t.Helper()
	output := Reprise(s.t, "sessions", "list", "--json", "--state-dir", s.stateDir)
	if err := json.Unmarshal(output, &entries); err != nil {
		s.t.Fatalf("sessions list: %v:\n%s", err, output)
	}
	return entries
}

// AwaitStored waits until all sessions of the server, n at least, are in its store. They are written behind the
// handshake.
func (s *Server) AwaitStored(n int) []Entry {
	s.t.Helper()
	var entries []Entry
	s.Until("sessions to be stored", func() bool {
		entries = s.List()
		return len(entries) >= n && !slices.ContainsFunc(entries, func(e Entry) bool { return !e.Stored })
	})
	return entries
}

// Remove removes a session by its name.
func (s *Server) Remove(name string) {
	s.t.Helper()
	Reprise(s.t, "sessions", "remove", name, "--state-dir", s.stateDir)
}
