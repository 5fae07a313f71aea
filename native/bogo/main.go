// Command bogo lets BoringSSL's test runner (BoGo) test package native: the runner starts it once for each test, and plays the
// client. docs/native.md tells how to run it and what came of it; config.json has the tests that are left out, and why.
package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// The exit codes that the runner knows.
const (
	exitPassed = 0
	exitFailed = 1
	// exitUnimplemented tells that the test asks for something that this engine or this shim does not have.
	exitUnimplemented = 89
)

func main() { os.Exit(shim(os.Args[1:], os.Stdout, os.Stderr)) }

// shim runs one test and returns the exit code.
func shim(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[len(args)-1] == "-is-handshaker-supported" {
		fmt.Fprintln(stdout, "No")
		return exitPassed
	}
	t, err := parseFlags(args)
	if err == nil {
		err = t.run()
	}
	switch {
	case err == nil:
		return exitPassed
	case errors.Is(err, errUnimplemented):
		fmt.Fprintln(stderr, err)
		return exitUnimplemented
	default:
		fmt.Fprintln(stderr, describe(err))
		return exitFailed
	}
}

var errUnimplemented = errors.New("bogo: unimplemented")

func unimplemented(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnimplemented, fmt.Sprintf(format, args...))
}

// describe writes an error of the engine as "alert: text", which the ErrorMap of config.json goes by: so a test that must fail passes
// only if the engine fails for the reason meant, with the alert meant.
func describe(err error) string {
	if fault, ok := errors.AsType[*alert.Error](err); ok {
		return fmt.Sprintf("%v: %v", fault.Alert, fault.Err)
	}
	return err.Error()
}

// run makes the connections of a test, which share one cache.
func (t *test) run() error {
	cache, err := reprise.New(reprise.Options{Context: []byte("bogo")})
	if err != nil {
		return err
	}
	for i := range t.resumeCount + 1 {
		c := &connection{test: t, phase: &t.initial, cache: cache}
		if i > 0 {
			c.phase, c.isResumption = &t.resume, true
		}
		if err := c.run(); err != nil {
			return err
		}
	}
	return nil
}

// A connection is one connection to the runner, which is the client though we dial.
type connection struct {
	*test
	*phase
	cache        *reprise.Cache
	isResumption bool

	tap  *tap
	seen seen
}

func (c *connection) run() error {
	config, err := c.config()
	if err != nil {
		return err
	}
	host := "127.0.0.1"
	if c.ipv6 {
		host = "::1"
	}
	raw, err := net.Dial("tcp", net.JoinHostPort(host, c.port))
	if err != nil {
		return err
	}
	if err := binary.Write(raw, binary.LittleEndian, c.shimID); err != nil {
		raw.Close()
		return err
	}
	c.tap = &tap{Conn: raw}
	var transport net.Conn = c.tap
	if c.async {
		transport = byteByByte{transport}
	}
	conn := native.Server(transport, config, c.cache)
	defer conn.Close()
	err = c.exchange(conn)
	if err != nil && c.isOtherVersion(err) {
		return unimplemented("a test of another version of TLS")
	}
	return err
}

// isOtherVersion tells whether a handshake failed because the test is one of another version of TLS: one that the client and the
// flags of the test have in common, but not this engine.
func (c *connection) isOtherVersion(err error) bool {
	if errors.Is(err, native.ErrVersionTLS13) {
		return true
	}
	var hello wire.ClientHello
	if !hello.Unmarshal(c.tap.fromClient.message(wire.KindClientHello)) {
		return false
	}
	best := uint16(0)
	for version := uint16(tls.VersionTLS10); version <= tls.VersionTLS13; version++ {
		if c.allowsVersion(version) && offers(&hello, version) {
			best = version
		}
	}
	return best != 0 && best != tls.VersionTLS12
}

func offers(hello *wire.ClientHello, version uint16) bool {
	if hello.SupportedVersions == nil {
		return version <= min(hello.Version, tls.VersionTLS12)
	}
	for _, v := range hello.SupportedVersions {
		if v == version {
			return true
		}
	}
	return false
}
