package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A serverProcess is a server from the client's side.
type serverProcess struct {
	kind        kind
	address     string
	connections int // begun since its start

	command  *exec.Cmd
	requests io.WriteCloser
	answers  *json.Decoder
}

// startServer starts a server for one case.
func (b *benchmark) startServer(k kind, c benchCase) (*serverProcess, error) {
	if k.isProgram() {
		return b.startProgram(k, c)
	}
	setup, err := b.setup(k, c)
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &serverProcess{kind: k, command: exec.Command(executable, serveArgument)}
	p.command.Stderr = b.messages
	if p.requests, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	answers, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(answers)
	if err := startOn(b.serverCPU, p.command); err != nil {
		return nil, err
	}
	var started serverStarted
	if err := p.ask(setup, &started); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.address = started.Address
	return p, nil
}

func (b *benchmark) setup(k kind, c benchCase) (serverSetup, error) {
	certificate := b.certificates.server[c.key]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return serverSetup{}, err
	}
	s := serverSetup{Kind: k.name, Chain: certificate.Certificate, Key: key, ClosesFirst: c.engines}
	if c.mutual {
		s.ClientCA = b.certificates.root.Raw
	}
	switch k.store {
	case embeddedStore:
		if s.Folder, err = os.MkdirTemp(b.folder, "store"); err != nil {
			return s, err
		}
	case redisStore:
		s.Redis = b.redis.url
	case noStore:
	}
	if b.profiles != "" {
		s.Profiles = filepath.Join(b.profiles, fileName(c.String()+" "+k.name))
	}
	return s, nil
}

func fileName(title string) string {
	return strings.Trim(regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(title, "-"), "-")
}

// answerTimeout is how long a server may take to answer; it waits for its connections meanwhile.
const answerTimeout = 30 * time.Second

// ask sends a request and reads the answer. A server that does not answer is killed.
func (p *serverProcess) ask(request, answer any) error {
	late := time.AfterFunc(answerTimeout, func() { p.command.Process.Kill() }) //nolint:errcheck // it is dead then
	defer late.Stop()
	if err := json.NewEncoder(p.requests).Encode(request); err != nil {
		return fmt.Errorf("server %s: %w", p.kind.name, err)
	}
	if err := p.answers.Decode(answer); err != nil {
		return fmt.Errorf("server %s gave no answer: %w", p.kind.name, err)
	}
	return nil
}

// sample waits until all connections were served and measures.
func (p *serverProcess) sample() (s sample, err error) {
	if p.kind.isProgram() {
		return p.sampleProgram()
	}
	err = p.ask(sampleRequest{Connections: p.connections}, &s)
	return s, err
}

// close ends the server.
func (p *serverProcess) close() error {
	if p.kind.isProgram() {
		p.command.Process.Kill() //nolint:errcheck // it has ended then
		p.command.Wait()         //nolint:errcheck // it was killed
		return nil
	}
	late := time.AfterFunc(answerTimeout, func() { p.command.Process.Kill() }) //nolint:errcheck // it is dead then
	defer late.Stop()
	if err := errors.Join(p.requests.Close(), p.command.Wait()); err != nil {
		return fmt.Errorf("server %s: %w", p.kind.name, err)
	}
	return nil
}
