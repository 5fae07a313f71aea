package config

import (
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// TestUncleanRules: each name means the rule of its name.
func TestUncleanRules(t *testing.T) {
	for name, want := range map[string]reprise.Unclean{
		"never": reprise.UncleanNever, "fatal": reprise.UncleanFatal, "openssl": reprise.UncleanOpenSSL, "strict": reprise.UncleanStrict,
	} {
		c := Cache{Unclean: name, Mode: "server", Timeout: time.Hour}
		if err := c.check(false); err != nil || c.UncleanRule != want {
			t.Errorf("%s: rule %v, %v; want %v", name, c.UncleanRule, err, want)
		}
	}
}
