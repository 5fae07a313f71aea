package native_test

import (
	"crypto/fips140"
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/internal/certtest"
)

// TestFIPSMode: the engine is off in FIPS 140-3 mode, which is a setting of the process.
func TestFIPSMode(t *testing.T) {
	if !fips140.Enabled() {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFIPSMode$", "-test.v")
		again.Env = append(os.Environ(), "GODEBUG=fips140=on")
		if output, err := again.CombinedOutput(); err != nil || !strings.Contains(string(output), "--- PASS: TestFIPSMode") {
			t.Errorf("in FIPS 140-3 mode: %v\n%s", err, output)
		}
		return
	}
	_, certificate := certtest.Shared(t)
	if err := handshakeWith(t, &tls.Config{Certificates: []tls.Certificate{certificate}}); err == nil || !strings.Contains(err.Error(), "FIPS") {
		t.Errorf("handshake: %v, want an error that names FIPS", err)
	}
}
