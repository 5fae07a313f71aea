package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/internal/certtest"
)

// pair makes a certificate for names in a folder of its own.
func pair(t *testing.T, names ...string) certs.Pair {
	t.Helper()
	p, err := certs.SelfSigned(t.TempDir(), names)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// certificateFor returns the certificate that a server shows to a client of TLS 1.2.
func certificateFor(t *testing.T, config *tls.Config, serverName string, suites ...uint16) *x509.Certificate {
	t.Helper()
	clientSide, serverSide := net.Pipe()
	defer clientSide.Close()
	go func() {
		defer serverSide.Close()
		_ = tls.Server(serverSide, config).Handshake() // the client tells
	}()
	client := tls.Client(clientSide, &tls.Config{
		ServerName: serverName, CipherSuites: suites, MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true,
	})
	if err := client.Handshake(); err != nil {
		t.Fatalf("for %q: %v", serverName, err)
	}
	return client.ConnectionState().PeerCertificates[0]
}

func configure(t *testing.T, pairs ...certs.Pair) *tls.Config {
	t.Helper()
	set, err := certs.Load(pairs)
	if err != nil {
		t.Fatal(err)
	}
	config := new(tls.Config)
	set.Configure(config)
	return config
}

func TestConfigureByServerName(t *testing.T) {
	config := configure(t, pair(t, "first.example", "first.example"), pair(t, "*.example.org"), pair(t, "www.example.org"), pair(t, "WWW.Example.NET"))
	for _, test := range []struct{ serverName, want string }{
		{"www.example.org", "www.example.org"}, // exact before wildcard
		{"other.example.org", "*.example.org"},
		{"WWW.EXAMPLE.ORG.", "www.example.org"},
		{"www.example.net", "WWW.Example.NET"},
		{"a.b.example.org", "first.example"}, // a wildcard is for one label
		{"first.example", "first.example"},
		{"unknown.example", "first.example"},
		{"", "first.example"},
	} {
		if got := certificateFor(t, config, test.serverName).DNSNames[0]; got != test.want {
			t.Errorf("for %q: certificate of %q, want %q", test.serverName, got, test.want)
		}
	}
}

// TestConfigureByKey: of two certificates with one name, a client gets the one that it supports.
func TestConfigureByKey(t *testing.T) {
	authority := certtest.NewAuthority(t, "ca")
	issued := func(c tls.Certificate) certs.Pair {
		cert, key := certtest.WriteCertificate(t, c)
		return certs.Pair{Cert: cert, Key: key}
	}
	config := configure(t, pair(t, "first.example"),
		issued(authority.Server(t, "*.example.org", "a.example.org")), issued(authority.ServerRSA(t, "*.example.org", "a.example.org")))
	for suite, want := range map[uint16]x509.PublicKeyAlgorithm{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   x509.RSA,
	} {
		for _, name := range []string{"a.example.org", "b.example.org", ""} {
			if got := certificateFor(t, config, name, suite); got.PublicKeyAlgorithm != want || name != "" && got.VerifyHostname(name) != nil {
				t.Errorf("%s, %s: certificate for %v, %v", name, tls.CipherSuiteName(suite), got.DNSNames, got.PublicKeyAlgorithm)
			}
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good, other := pair(t, "a.example"), pair(t, "b.example")
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]certs.Pair{
		"missing file":    {Cert: "does-not-exist", Key: good.Key},
		"key of another":  {Cert: good.Cert, Key: other.Key},
		"garbage as cert": {Cert: garbage, Key: good.Key},
	} {
		_, err := certs.Load([]certs.Pair{good, p})
		if hinted := new(hint.Error); !errors.As(err, &hinted) {
			t.Errorf("%s: error %v, want one with a hint", name, err)
		} else if !strings.Contains(err.Error(), p.Cert) {
			t.Errorf("%s: error %q does not name the file", name, err)
		}
	}
	if _, err := certs.LoadPool([]string{good.Cert, garbage}, "--client-ca"); err == nil {
		t.Error("LoadPool took a file without a certificate")
	}
	if _, err := certs.LoadPool([]string{good.Cert}, "--client-ca"); err != nil {
		t.Errorf("LoadPool refused a certificate: %v", err)
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	read := func(names ...string) string {
		p, err := certs.SelfSigned(dir, names)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(p.Key)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key file: %v, %v; want mode 0600", info.Mode(), err)
		}
		content, err := os.ReadFile(p.Cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first := read("localhost", "127.0.0.1")
	if read("localhost") != first {
		t.Error("another certificate though the first one has the name")
	}
	if read("localhost", "host.example") == first {
		t.Error("the same certificate though it lacks a name")
	}
}

func TestWatchSeesEachChange(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(target, "1")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	changed := make(chan struct{})
	watcher := certs.Watch([]string{link})
	go watcher.Run(ctx, 10*time.Millisecond, func() { changed <- struct{}{} })

	for _, change := range []struct {
		name string
		make func()
	}{
		{"written", func() { write(target, "22") }},
		{"linked elsewhere", func() {
			write(filepath.Join(dir, "other"), "333")
			_ = os.Symlink(filepath.Join(dir, "other"), filepath.Join(dir, "new"))
			_ = os.Rename(filepath.Join(dir, "new"), link)
		}},
	} {
		change.make()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s: not seen", change.name)
		}
	}
	select {
	case <-changed:
		t.Error("a change was seen that was none")
	case <-time.After(100 * time.Millisecond):
	}
}
