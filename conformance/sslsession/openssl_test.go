package sslsession_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/sslsession"
)

// TestSessionsOfOpenSSL: both sides of a connection of s_client and s_server write their sessions. We write them as they are,
// and s_client resumes from what we wrote.
func TestSessionsOfOpenSSL(t *testing.T) {
	files := harness.NewFiles(t)
	authority, _ := certtest.Shared(t)
	certificate := authority.Client(t, "client", time.Time{})
	clientCert, clientKey := certtest.WriteCertificate(t, certificate)
	for _, c := range []struct {
		name           string
		server, client string // arguments
		config         string // OPENSSL_CONF
		check          func(t *testing.T, server, client *sslsession.SSLSession)
	}{
		{
			name:   "TLS 1.2 by ID",
			server: "-tls1_2 -no_ticket", client: "-servername a.example",
			check: func(t *testing.T, server, client *sslsession.SSLSession) {
				if !server.ExtendedMasterSecret() || !client.ExtendedMasterSecret() || client.Ticket != nil || !bytes.Equal(server.SessionID, client.SessionID) {
					t.Error("want extended master secret, no ticket and the same ID on both sides")
				}
			},
		},
		{
			name:   "TLS 1.2 by ticket",
			server: "-tls1_2", client: "-noservername",
			check: func(t *testing.T, server, client *sslsession.SSLSession) {
				if len(server.SessionID) != 0 || client.Ticket == nil || client.TicketLifetimeHint == 0 {
					t.Error("want no ID on the server's side, and a ticket with its lifetime on the client's")
				}
			},
		},
		{
			name:   "TLS 1.2 without extended master secret",
			server: "-tls1_2 -no_ticket", client: "-noservername", config: withoutExtendedMasterSecret(t),
			check: func(t *testing.T, server, client *sslsession.SSLSession) {
				if server.ExtendedMasterSecret() || client.ExtendedMasterSecret() {
					t.Error("there is an extended master secret")
				}
			},
		},
		{
			name:   "TLS 1.2 with client certificate",
			server: "-tls1_2 -no_ticket -Verify 1 -verify_return_error -CAfile " + files.CA,
			client: "-noservername -cert " + clientCert + " -key " + clientKey,
			check: func(t *testing.T, server, _ *sslsession.SSLSession) {
				if !bytes.Equal(server.PeerCertificate, certificate.Certificate[0]) || server.VerifyResult != 0 {
					t.Errorf("verify result %d, or another certificate", server.VerifyResult)
				}
			},
		},
		{
			name:   "TLS 1.3",
			server: "-tls1_3 -num_tickets 1 -no_ticket -alpn h2", client: "-servername a.example -alpn h2",
			check: func(t *testing.T, server, client *sslsession.SSLSession) {
				if !bytes.Equal(server.SessionID, client.Ticket) || string(server.ALPN) != "h2" || server.TicketAgeAdd != client.TicketAgeAdd {
					t.Error("want the server's ID for a ticket, and ALPN")
				}
			},
		},
		{
			name:   "TLS 1.3 with early data",
			server: "-tls1_3 -num_tickets 1 -max_early_data 1234 -early_data", client: "-noservername",
			check: func(t *testing.T, server, client *sslsession.SSLSession) {
				if server.MaxEarlyData != 1234 || client.MaxEarlyData != 1234 {
					t.Errorf("max early data %d and %d", server.MaxEarlyData, client.MaxEarlyData)
				}
			},
		},
		{
			name:   "TLS 1.3 with client certificate",
			server: "-tls1_3 -num_tickets 1 -no_ticket -Verify 1 -verify_return_error -CAfile " + files.CA,
			client: "-noservername -cert " + clientCert + " -key " + clientKey,
			check: func(t *testing.T, server, _ *sslsession.SSLSession) {
				if !bytes.Equal(server.PeerCertificate, certificate.Certificate[0]) {
					t.Error("another certificate")
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := startOpenSSL(t, c.config, append(strings.Fields(c.server), "-cert", files.Cert, "-key", files.Key))
			sessionFile := filepath.Join(t.TempDir(), "session.pem")
			if out := o.connect(sessionFile, append(strings.Fields(c.client), "-sess_out", sessionFile)); !bytes.Contains(out, []byte("\nNew, TLS")) {
				t.Fatalf("no full handshake:\n%s", out)
			}
			written, err := os.ReadFile(sessionFile)
			if err != nil {
				t.Fatal(err)
			}
			client := comesBack(t, written)

			ours, err := client.MarshalPEM()
			if err != nil {
				t.Fatal(err)
			}
			ourFile := filepath.Join(t.TempDir(), "session.pem")
			harness.Write(t, ourFile, ours)
			if out := o.connect(ourFile, append(strings.Fields(c.client), "-sess_in", ourFile)); !bytes.Contains(out, []byte("\nReused, TLS")) {
				t.Errorf("not resumed from what we wrote:\n%s", out)
			}

			server := comesBack(t, o.output())
			c.check(t, server, client)
			convertsBothWays(t, server)
		})
	}
}

// comesBack reads the first session in the output of OpenSSL, and checks that we write it as it is there.
func comesBack(t *testing.T, output []byte) *sslsession.SSLSession {
	t.Helper()
	x, rest, err := sslsession.ParsePEM(output)
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	written, err := x.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	if read := output[:len(output)-len(rest)]; !bytes.HasSuffix(read, written) {
		t.Errorf("written as\n%s\nwant the end of\n%s", written, read)
	}
	return x
}

// convertsBothWays converts a server's session to a reprise.Session and back, and checks what must survive.
func convertsBothWays(t *testing.T, x *sslsession.SSLSession) {
	t.Helper()
	if len(x.SessionID) == 0 {
		return // resumed by ticket
	}
	s, err := sslsession.ToSession(x, sslsession.Foreign{Scope: reprise.Scope{1}, Context: x.SessionIDContext})
	if err != nil {
		t.Fatal(err)
	}
	back, err := sslsession.FromSession(s)
	if err != nil {
		t.Fatal(err)
	}
	back.TicketAppData = nil
	back.VerifyResult = x.VerifyResult
	if got, want := marshal(t, back), marshal(t, x); !bytes.Equal(got, want) {
		t.Errorf("converted to a reprise.Session and back\n%x\nbecame\n%x", want, got)
	}
}

// withoutExtendedMasterSecret returns a configuration of OpenSSL, which has no option for it.
func withoutExtendedMasterSecret(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "openssl.cnf")
	harness.Write(t, file, []byte(`
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = options
[options]
Options = -ExtendedMasterSecret
`))
	return file
}

// openSSL is s_server, on a free port of the loopback, for two connections.
type openSSL struct {
	t       *testing.T
	path    string
	env     []string
	port    string
	command *exec.Cmd
	ended   chan struct{}
	out     bytes.Buffer // for reading when it has ended
}

func startOpenSSL(t *testing.T, config string, args []string) *openSSL {
	t.Helper()
	o := &openSSL{t: t, path: harness.Need(t, "openssl"), env: os.Environ(), ended: make(chan struct{})}
	if config != "" {
		o.env = append(o.env, "OPENSSL_CONF="+config)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	o.command = exec.CommandContext(ctx, o.path, append([]string{"s_server", "-accept", "127.0.0.1:0", "-naccept", "2"}, args...)...)
	o.command.Env = o.env
	o.command.Stderr = t.Output()
	if _, err := o.command.StdinPipe(); err != nil { // at the end of its input it would end
		t.Fatal(err)
	}
	stdout, err := o.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	for o.port == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("s_server does not say its port: %v", err)
		}
		if address, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCEPT "); ok {
			o.port = address[strings.LastIndex(address, ":")+1:]
		}
	}
	go func() {
		defer close(o.ended)
		_, _ = io.Copy(&o.out, lines) // what there is
		_ = o.command.Wait()          // its status tells nothing
	}()
	return o
}

// output returns what s_server has printed, once both connections are over.
func (o *openSSL) output() []byte {
	<-o.ended
	return o.out.Bytes()
}

// connect makes a connection with s_client, ends it when the session file has something in it, and returns what s_client printed. In
// TLS 1.3 that is after the handshake.
func (o *openSSL) connect(sessionFile string, args []string) []byte {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, o.path, append([]string{"s_client", "-connect", "127.0.0.1:" + o.port}, args...)...)
	command.Env = o.env
	input, err := command.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		o.t.Fatal(err)
	}
	for ctx.Err() == nil {
		if info, err := os.Stat(sessionFile); err == nil && info.Size() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := io.WriteString(input, "Q\n"); err != nil {
		o.t.Errorf("s_client: %v", err)
	}
	if err := command.Wait(); err != nil {
		o.t.Fatalf("s_client: %v\n%s", err, out.Bytes())
	}
	return out.Bytes()
}
