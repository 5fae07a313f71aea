package admin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

func TestParseAddress(t *testing.T) {
	for _, raw := range []string{"unix:/run/x.sock", "unix:relative.sock", "127.0.0.1:9443", "[::1]:9443", "localhost:0", "127.9.9.9:1"} {
		a, err := admin.ParseAddress(raw, false)
		if err != nil || a.String() != raw {
			t.Errorf("%s: %s, %v", raw, a, err)
		}
	}
	for _, raw := range []string{
		"", "unix:", "unix:" + strings.Repeat("x", 108), "127.0.0.1", "0.0.0.0:1", ":1", "[::]:1", "192.0.2.1:1", "example.com:1",
		"127.0.0.1:65536", "127.0.0.1:no-such-service",
	} {
		_, err := admin.ParseAddress(raw, false)
		if hinted := new(hint.Error); !errors.As(err, &hinted) {
			t.Errorf("%q: error %v, want one with a hint", raw, err)
		}
	}
	if _, err := admin.ParseAddress("0.0.0.0:1", true); err != nil {
		t.Errorf("with --unsafe-admin: %v", err)
	}
}
