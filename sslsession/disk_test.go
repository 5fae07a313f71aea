package sslsession_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// TestOpenSSLReadsTheFilesOfTheExample: of both versions, with the secret and the context in them.
func TestOpenSSLReadsTheFilesOfTheExample(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no openssl, which Debian has in the package of this name")
		}
		t.Skip("no openssl")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		folder := t.TempDir()
		addr, stop := serve(folder, selfSigned())
		visit(addr, &tls.Config{
			ServerName: "localhost", InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		})
		stop()
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil || len(files) != 1 || len(filepath.Base(files[0])) != 64 {
			t.Fatalf("files %v, %v", files, err)
		}
		shown, err := exec.CommandContext(t.Context(), openssl, "sess_id", "-inform", "DER", "-in", files[0], "-text", "-noout").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, shown)
		}
		for _, want := range []string{
			"Session-ID: " + strings.ToUpper(filepath.Base(files[0])),
			"Session-ID-ctx: 73686F70\n", // shop
			"Timeout   : 3600 (sec)",
		} {
			if !strings.Contains(string(shown), want) {
				t.Errorf("%s: no %q in\n%s", tls.VersionName(version), want, shown)
			}
		}
	}
}

// TestDiskCacheOfTheExample: it has no file of an ID that was never stored, and none that is damaged ends a handshake.
func TestDiskCacheOfTheExample(t *testing.T) {
	d := diskCache{t.TempDir()}
	id, err := reprise.MakeSessionID([]byte("../../etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.get(t.Context(), id); s != nil || err != nil {
		t.Errorf("an ID that is a path: %v, %v", s, err)
	}
	if err := os.WriteFile(d.file(id), []byte("0 is a digit, and the identifier of a SEQUENCE"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := d.get(t.Context(), id); s != nil || err == nil {
		t.Errorf("a damaged file: %v, %v", s, err)
	}
	p := tls13Params(t)
	p.Created, p.Lineage = time.Now().Add(-5*time.Second), reprise.Lineage{}
	s := newSession(t, p)
	if !d.add(nil, s) {
		t.Error("the new callback refuses to keep the session")
	}
	if got, err := d.get(t.Context(), s.ID()); err != nil || string(encode(t, got)) != string(encode(t, s)) {
		t.Errorf("another session came back: %v", err)
	}
	d.remove(nil, s, reprise.RemovedEvicted, true)
	if got, err := d.get(t.Context(), s.ID()); got == nil || err != nil {
		t.Errorf("an eviction deleted the file: %v", err)
	}
	for range 2 { // a session need not be there
		d.remove(nil, s, reprise.RemovedFatalAlert, false)
		if got, err := d.get(t.Context(), s.ID()); got != nil || err != nil {
			t.Errorf("a removal left the file: %v, %v", got, err)
		}
	}

	// One that has expired is returned, for the cache to decline it, and gone then.
	p.Timeout = time.Second
	s = newSession(t, p)
	d.add(nil, s)
	if got, err := d.get(t.Context(), s.ID()); got == nil || err != nil {
		t.Errorf("an expired session: %v, %v", got, err)
	}
	if got, err := d.get(t.Context(), s.ID()); got != nil || err != nil {
		t.Errorf("the file of an expired session is still there: %v, %v", got, err)
	}
}
