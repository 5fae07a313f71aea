package printable_test

import (
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/printable"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"a.example":               "a.example",
		"b\u00fccher.example":     "b\u00fccher.example",
		"\x1b]0;owned\x07\x1b[2J": "0x1b5d303b6f776e6564071b5b324a",
		"a\nb":                    "0x610a62",
		"\u009b2J":                "0xc29b324a", // of the C1 controls
		"\x9b2J":                  "0x9b324a",
		"\u202egnp.exe":           "0xe280ae676e702e657865", // from right to left
		"0x61":                    `"0x61"`,
		`"a"`:                     `"\"a\""`,
	} {
		if got := printable.Text([]byte(in)); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}
