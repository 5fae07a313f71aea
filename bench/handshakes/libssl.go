package main

import (
	"bufio"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed libssl/*.c
var libsslSources embed.FS

// errNoLibssl is returned where programs that use libssl can't be built.
var errNoLibssl = errors.New("there is no C compiler, or no libssl-dev")

// compile compiles one of the C programs and returns its path. With CI set, that must be possible.
func (b *benchmark) compile(name string) (string, error) {
	program := filepath.Join(b.folder, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	source, err := libsslSources.ReadFile("libssl/" + name + ".c")
	if err != nil {
		return "", err
	}
	arguments := append([]string{"-O2", "-D_GNU_SOURCE", "-pthread", "-o", program}, plainLengths()...)
	compiler := exec.Command("cc", append(arguments, "-x", "c", "-", "-lssl", "-lcrypto")...)
	compiler.Stdin = strings.NewReader(string(source))
	output, err := compiler.CombinedOutput()
	switch {
	case err == nil:
		return program, nil
	case os.Getenv("CI") != "":
		return "", fmt.Errorf("compiling %s.c: %w\n%s", name, err, output)
	default:
		return "", errNoLibssl
	}
}

// writePEM writes the certificates and keys of the run as programs in C read them, and returns their folder.
func (b *benchmark) writePEM(setup serverSetup) (folder string, err error) {
	if folder, err = os.MkdirTemp(b.folder, "pem"); err != nil {
		return "", err
	}
	var chain []byte
	for _, der := range setup.Chain {
		chain = append(chain, encodePEM("CERTIFICATE", der)...)
	}
	return folder, errors.Join(
		os.WriteFile(filepath.Join(folder, "chain.pem"), chain, 0o600),
		os.WriteFile(filepath.Join(folder, "key.pem"), encodePEM("PRIVATE KEY", setup.Key), 0o600),
		os.WriteFile(filepath.Join(folder, "root.pem"), encodePEM("CERTIFICATE", b.certificates.root.Raw), 0o600),
	)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// libsslServer returns the command of a server of libssl, or of one in C without TLS, which prints its port.
func (b *benchmark) libsslServer(k kind, setup serverSetup) (*exec.Cmd, error) {
	program, err := b.compile("server")
	if err != nil {
		return nil, err
	}
	threads := strconv.Itoa(b.concurrency)
	if k.isPlain() {
		return exec.Command(program, threads), nil
	}
	folder, err := b.writePEM(setup)
	if err != nil {
		return nil, err
	}
	return exec.Command(program, threads, filepath.Join(folder, "chain.pem"), filepath.Join(folder, "key.pem")), nil
}

// A libsslClient is a process that makes connections to one server.
type libsslClient struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// startLibsslClient starts a client for a server, on the core of the clients.
func (b *benchmark) startLibsslClient(p *serverProcess, c benchCase) (*libsslClient, error) {
	program, err := b.compile("client")
	if err != nil {
		return nil, err
	}
	setup, err := b.setup(p.kind, c)
	if err != nil {
		return nil, err
	}
	folder, err := b.writePEM(setup)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return nil, err
	}
	n := &libsslClient{command: exec.Command(program, port, filepath.Join(folder, "root.pem"), p.kind.mechanism(),
		strconv.Itoa(b.sessions), strconv.Itoa(b.concurrency), p.kind.request())}
	n.command.Stderr = b.messages
	if n.input, err = n.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := n.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.output = bufio.NewReader(output)
	return n, startOn(b.clientCPU, n.command)
}

// connect makes so many connections, and checks that all were resumed, or none.
func (n *libsslClient) connect(connections int, resumed bool) error {
	expect := 0
	if resumed {
		expect = 1
	}
	if _, err := fmt.Fprintf(n.input, "%d %d\n", connections, expect); err != nil {
		return err
	}
	answer, err := n.output.ReadString('\n')
	if err == nil && answer != "ok\n" {
		err = errors.New(strings.TrimSpace(answer))
	}
	return err
}

func (n *libsslClient) close() error { return errors.Join(n.input.Close(), n.command.Wait()) }
