package certs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
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

func TestChooseByServerName(t *testing.T) {
	set, err := certs.Load([]certs.Pair{
		pair(t, "first.example"), pair(t, "*.example.org"), pair(t, "www.example.org"), pair(t, "WWW.Example.NET"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ serverName, want string }{
		{"www.example.org", "www.example.org"}, // exact before wildcard
		{"other.example.org", "*.example.org"},
		{"WWW.EXAMPLE.ORG.", "www.example.org"},
		{"www.example.net", "WWW.Example.NET"},
		{"a.b.example.org", "first.example"}, // a wildcard is for one label
		{"unknown.example", "first.example"},
		{"", "first.example"},
	} {
		cert, err := set.Choose(&tls.ClientHelloInfo{
			ServerName:        test.serverName,
			SupportedVersions: []uint16{tls.VersionTLS13},
			SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := cert.Leaf.DNSNames[0]; got != test.want {
			t.Errorf("for %q: certificate of %q, want %q", test.serverName, got, test.want)
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
