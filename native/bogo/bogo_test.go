package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/internal/certtest"
)

func TestHandshakerIsNotSupported(t *testing.T) {
	var out bytes.Buffer
	if code := shim([]string{"-is-handshaker-supported"}, &out, t.Output()); code != exitPassed || out.String() != "No\n" {
		t.Errorf("exit %d, output %q", code, out.String())
	}
}

// TestUnimplemented: what asks for something else than a TLS 1.2 server is never taken for a test that failed or passed.
func TestUnimplemented(t *testing.T) {
	for _, args := range []string{
		"",
		"-host-name example.com",
		"-dtls -server",
		"-quic -server",
		"-server -flag-to-come",
		"-server -on-resume-flag-to-come",
		"-server -no-tls12",
		"-server -max-version 770",
		"-server -min-version 772",
		"-server",
		"-server -cert-file missing.pem -key-file missing.pem",
	} {
		var stderr strings.Builder
		if code := shim(strings.Fields(args), io.Discard, &stderr); code != exitUnimplemented || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, code, stderr.String())
		}
	}
}

func TestMalformedFlags(t *testing.T) {
	for _, args := range []string{
		"-server -port",
		"-server -resume-count many",
		"-server -ocsp-response %",
		"-server -signed-cert-timestamps AAE=",
		"-server -use-client-ca-list zz",
		"-server -expect-advertised-alpn \x05foo",
	} {
		var stderr strings.Builder
		if code := shim(strings.Fields(args), io.Discard, &stderr); code != exitFailed || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, code, stderr.String())
		}
	}
}

// A runner is the other side of the shim.
type runner struct {
	*testing.T
	listener net.Listener
	flags    []string
	roots    *x509.CertPool
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	authority, certificate := certtest.Shared(t)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", certificate.Certificate...)
	writePEM(t, keyFile, "PRIVATE KEY", key)
	return &runner{t, listener, []string{
		"-port", port, "-shim-id", "72623859790382856", "-server", "-cert-file", certFile, "-key-file", keyFile,
	}, authority.Pool()}
}

func writePEM(t *testing.T, name, kind string, blocks ...[]byte) {
	t.Helper()
	var file bytes.Buffer
	for _, block := range blocks {
		if err := pem.Encode(&file, &pem.Block{Type: kind, Bytes: block}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run calls exchange for each connection of the shim, and returns its exit code and what it wrote to stderr.
func (r *runner) run(connections int, exchange func(net.Conn), flags ...string) (code int, stderr string) {
	r.Helper()
	var out strings.Builder
	done := make(chan int, 1)
	go func() { done <- shim(slices.Concat(r.flags, flags), io.Discard, &out) }()
	for range connections {
		conn, err := r.listener.Accept()
		if err != nil {
			r.Fatal(err)
		}
		var id [8]byte
		if _, err := io.ReadFull(conn, id[:]); err != nil || binary.LittleEndian.Uint64(id[:]) != 72623859790382856 {
			r.Errorf("shim ID %x, %v", id, err)
		}
		exchange(conn)
		conn.Close()
	}
	return <-done, out.String()
}

// client makes connections, and checks that the shim echoes.
func (r *runner) client(version uint16, resumed *[]bool) func(net.Conn) {
	config := &tls.Config{
		RootCAs: r.roots, ServerName: "a.example", ClientSessionCache: tls.NewLRUClientSessionCache(1),
		MinVersion: tls.VersionTLS10, MaxVersion: version,
	}
	return func(raw net.Conn) {
		conn := tls.Client(raw, config)
		if conn.Handshake() != nil {
			return
		}
		*resumed = append(*resumed, conn.ConnectionState().DidResume)
		echo := make([]byte, 2)
		if _, err := conn.Write([]byte{0, 1}); err != nil {
			r.Error(err)
		}
		if _, err := io.ReadFull(conn, echo); err != nil || !bytes.Equal(echo, []byte{0xff, 0xfe}) {
			r.Errorf("echo %x, %v", echo, err)
		}
		conn.Close()
	}
}

func TestResumption(t *testing.T) {
	for _, flags := range []string{
		"",
		"-async",
		"-implicit-handshake",
		"-no-op-extra-handshake -use-early-callback",
		"-expect-no-session-id -expect-extended-master-secret -expect-server-name a.example",
	} {
		r := newRunner(t)
		var resumed []bool
		code, stderr := r.run(2, r.client(tls.VersionTLS12, &resumed), append(strings.Fields(flags), "-resume-count", "1")...)
		if code != exitPassed || stderr != "" || !slices.Equal(resumed, []bool{false, true}) {
			t.Errorf("%s: exit %d, %q, resumed: %v", flags, code, stderr, resumed)
		}
	}
}

// TestFailedExpectation: a test fails that does not see what it expects.
func TestFailedExpectation(t *testing.T) {
	for _, test := range []struct {
		flags       string
		connections int
	}{
		{"-expect-session-id", 1},
		{"-expect-server-name b.example", 1},
		{"-expect-curve-id 24", 1},
		{"-expect-selected-credential 0", 1},
		{"-expect-advertised-alpn \x03foo", 1},
		{"-expect-peer-verify-pref 1025", 1},
		{"-select-alpn foo", 1}, // which the client does not offer
		{"-resume-count 1 -expect-session-miss", 2},
		{"-resume-count 1 -no-ticket", 2},
	} {
		r := newRunner(t)
		config := &tls.Config{
			RootCAs: r.roots, ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		code, stderr := r.run(test.connections, func(raw net.Conn) {
			conn := tls.Client(raw, config)
			_ = conn.Handshake()
			conn.Close()
		}, strings.Fields(test.flags)...)
		if code != exitFailed || !strings.HasPrefix(stderr, "bogo: ") {
			t.Errorf("%s: exit %d, %q", test.flags, code, stderr)
		}
	}
}

// TestOtherVersions: a test is one of another version if the client and the flags have that in common.
func TestOtherVersions(t *testing.T) {
	const refused = "protocol version: native: client does not offer TLS 1.2\n"
	for _, test := range []struct {
		version uint16
		flags   string
		code    int
		stderr  string
	}{
		{tls.VersionTLS13, "", exitUnimplemented, "bogo: unimplemented: a test of another version of TLS\n"},
		{tls.VersionTLS13, "-max-version 771", exitPassed, ""},
		{tls.VersionTLS11, "", exitUnimplemented, "bogo: unimplemented: a test of another version of TLS\n"},
		{tls.VersionTLS11, "-no-tls1 -no-tls11", exitFailed, refused},
		{tls.VersionTLS11, "-min-version 771", exitFailed, refused},
	} {
		r := newRunner(t)
		code, stderr := r.run(1, r.client(test.version, new([]bool)), strings.Fields(test.flags)...)
		if code != test.code || stderr != test.stderr {
			t.Errorf("%s, %s: exit %d, want %d: %q", tls.VersionName(test.version), test.flags, code, test.code, stderr)
		}
	}
}

// TestErrorText: the ErrorMap goes by the alert and the text.
func TestErrorText(t *testing.T) {
	r := newRunner(t)
	code, stderr := r.run(1, func(raw net.Conn) {
		_, _ = io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, raw)
	})
	if want := "unexpected message: record of unknown type 71\n"; code != exitFailed || stderr != want {
		t.Errorf("exit %d, %q, want %q", code, stderr, want)
	}
}
