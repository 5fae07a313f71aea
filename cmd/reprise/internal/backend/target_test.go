package backend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/backend"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

func TestParseTarget(t *testing.T) {
	for raw, http := range map[string]bool{
		"tcp://127.0.0.1:9000":     false,
		"tcp://[::1]:9000":         false,
		"http://127.0.0.1:8080":    true,
		"http://backend.internal":  true,
		"http://127.0.0.1:80/base": true,
	} {
		target, err := backend.ParseTarget(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if target.IsHTTP() != http {
			t.Errorf("%s: IsHTTP() = %v", raw, target.IsHTTP())
		}
	}
	for _, raw := range []string{
		"", "127.0.0.1:9000", "tcp://127.0.0.1", "tcp://:9000", "tcp://127.0.0.1:9000/path", "https://127.0.0.1",
		"http://", "http://user:secret@127.0.0.1", "http://user:%secret@127.0.0.1", "http://user:secret#@127.0.0.1",
		"unix:/run/socket", "http://a b", "tcp://127.0.0.1:port", "tcp://127.0.0.1:99999", "http://127.0.0.1:65536", "http://127.0.0.1/?a=b",
	} {
		_, err := backend.ParseTarget(raw)
		if hinted := new(hint.Error); !errors.As(err, &hinted) {
			t.Errorf("%q: error %v, want one with a hint", raw, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}
