package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A version is one of TLS, by the names that it goes by.
type version struct {
	number uint16
	name   string
	openSSL,
	curl string // flags
}

var (
	tls12 = version{tls.VersionTLS12, "TLS 1.2", "-tls1_2", "1.2"}
	tls13 = version{tls.VersionTLS13, "TLS 1.3", "-tls1_3", "1.3"}
)

const (
	// minPause is how long a client is away at least.
	minPause = 20 * time.Millisecond
	// visitsOfClient is how often a client comes before another one takes its place.
	visitsOfClient = 40
	// connectionTimeout is how long a connection may take.
	connectionTimeout = 20 * time.Second
)

// An Answer is what a node says about a connection.
type Answer struct {
	Resumed bool   `json:"resumed"`
	Reason  string `json:"reason"`
	Node    string `json:"node"`
}

// Ask makes a connection to a node, or to a balancer, with one request. It returns the answer and how long the handshake
// took, the connecting included.
func (f *Fleet) Ask(ctx context.Context, address string, config *tls.Config) (a Answer, handshake time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectionTimeout)
	defer cancel()
	begun := time.Now()
	dialer := tls.Dialer{Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return a, 0, err
	}
	handshake = time.Since(begun)
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := request(conn, &a); err != nil {
		return a, handshake, err
	}
	if resumed := conn.(*tls.Conn).ConnectionState().DidResume; resumed != a.Resumed {
		return a, handshake, fmt.Errorf("the client says %v of a resumption, the server %v", resumed, a.Resumed)
	}
	return a, handshake, nil
}

func request(conn net.Conn, a *Answer) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(a)
}

// ClientConfig returns the configuration of a client of crypto/tls that has no session yet.
func (f *Fleet) ClientConfig(version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: f.certificate.roots, ServerName: serverName, MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

// comeByGo is a client of crypto/tls.
func (l *Load) comeByGo(i int, v version) {
	r := &regular{load: l, kind: "go " + v.name}
	config := l.fleet.ClientConfig(v.number)
	for visit := i * 7; l.pause(visit); visit++ {
		a, _, err := l.fleet.Ask(l.ctx, l.fleet.Balancer.Address, config)
		if err != nil {
			r.failed(fmt.Errorf("%s: %w", r.kind, err))
		} else {
			r.visited(a)
		}
		if visit%visitsOfClient == 0 || err != nil {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			r.last = ""
		}
	}
}

// pause waits for as long as a client is away, a different time before each visit. It returns false when the clients are to stop.
func (l *Load) pause(visit int) bool {
	select {
	case <-time.After(minPause + time.Duration(visit*13%100)*time.Millisecond):
		return true
	case <-l.ctx.Done():
		return false
	}
}

// comeByCurl is a client of curl after the other. Each keeps its sessions in memory and comes ten times a second.
func (l *Load) comeByCurl(v version) {
	for l.pause(0) {
		r := &regular{load: l, kind: "curl " + v.name}
		if err := l.runCurl(r, v); err != nil {
			r.failed(fmt.Errorf("%s: %w", r.kind, err))
		}
	}
}

func (l *Load) runCurl(r *regular, v version) error {
	_, port, _ := net.SplitHostPort(l.fleet.Balancer.Address)
	command := exec.CommandContext(l.ctx, "curl",
		"--silent", "--show-error", "--no-buffer", "--fail-early", "--http1.1", "--header", "Connection: close", "--rate", "10/s",
		"--cacert", l.fleet.certificate.cert, "--tls-max", v.curl, "--connect-to", "::127.0.0.1:",
		fmt.Sprintf("https://%s:%s/[1-%d]", serverName, port, visitsOfClient))
	var said bytes.Buffer
	command.Stderr = &said
	endWithParent(command)
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	answers := 0
	for decoder := json.NewDecoder(output); ; answers++ {
		var a Answer
		if decoder.Decode(&a) != nil {
			break
		}
		r.visited(a)
	}
	if err := command.Wait(); err != nil || answers != visitsOfClient {
		return fmt.Errorf("%d answers, %w: %s", answers, err, &said)
	}
	return nil
}

// comeByOpenSSL is an openssl s_client for each visit, which find the session in a file. In TLS 1.2 they take no tickets.
func (l *Load) comeByOpenSSL(i int, v version) {
	r := &regular{load: l, kind: "openssl " + v.name}
	session := filepath.Join(l.fleet.dir, fmt.Sprintf("session%s-%d.pem", v.openSSL, i))
	for visit := i * 7; l.pause(visit); visit++ {
		a, err := l.runOpenSSL(v, session)
		if err != nil {
			r.failed(fmt.Errorf("%s: %w", r.kind, err))
		} else {
			r.visited(a)
		}
		if visit%visitsOfClient == 0 || err != nil {
			os.Remove(session)
			r.last = ""
		}
	}
}

func (l *Load) runOpenSSL(v version, session string) (a Answer, err error) {
	args := []string{
		"s_client", "-connect", l.fleet.Balancer.Address, "-servername", serverName, v.openSSL, "-quiet", "-ign_eof",
		"-CAfile", l.fleet.certificate.cert, "-verify_return_error", "-verify_hostname", serverName, "-sess_out", session,
	}
	if v == tls12 {
		args = append(args, "-no_ticket")
	}
	if _, err := os.Stat(session); err == nil {
		args = append(args, "-sess_in", session)
	}
	command := exec.CommandContext(l.ctx, "openssl", args...)
	command.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	var said bytes.Buffer
	command.Stderr = &said
	endWithParent(command)
	output, err := command.Output()
	if err != nil {
		return a, fmt.Errorf("%w: %s", err, &said)
	}
	_, body, _ := bytes.Cut(output, []byte("\r\n\r\n"))
	return a, json.Unmarshal(body, &a)
}
