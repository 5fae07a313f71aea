package sessionfile_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessionfile"
	"github.com/reprise-tls/reprise/sslsession"
)

// vectors are sessions that OpenSSL has made.
func vectors(t testing.TB) []*sslsession.SSLSession {
	t.Helper()
	files, err := filepath.Glob("../../../../sslsession/testdata/*.pem")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	var all []*sslsession.SSLSession
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		x, _, err := sslsession.ParsePEM(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

func marshal(t testing.TB, x *sslsession.SSLSession) []byte {
	t.Helper()
	der, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestSecretsOnlyIfAskedFor: of every vector, in both outputs.
func TestSecretsOnlyIfAskedFor(t *testing.T) {
	for _, x := range vectors(t) {
		for _, asJSON := range []bool{false, true} {
			for _, secret := range [][]byte{x.Secret, x.SessionID, x.Ticket} {
				if len(secret) == 0 {
					continue
				}
				without, err := sessionfile.PrintBytes(marshal(t, x), false, asJSON)
				if err != nil {
					t.Fatal(err)
				}
				with, err := sessionfile.PrintBytes(marshal(t, x), true, asJSON)
				if err != nil {
					t.Fatal(err)
				}
				digits := hex.EncodeToString(secret)
				if strings.Contains(without, digits) || !strings.Contains(with, digits) {
					t.Errorf("%v: without --secrets\n%s\nwith\n%s", x, without, with)
				}
			}
		}
	}
}

// TestHostileValuesAreShown: what a session may have in its fields is shown, and no terminal takes it for a command.
func TestHostileValuesAreShown(t *testing.T) {
	x := *vectors(t)[0]
	x.ServerName = []byte("a\x1b[2Jb")
	x.ALPN = []byte("\xff\n\tx")
	x.SessionIDContext = []byte("0x41")
	x.PeerCertificate = []byte{0x30, 0}
	for _, times := range [][2]int64{
		{0, 0}, {-1, -1}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, 1}, {1, math.MaxInt64}, {253402300799, 253402300799},
	} {
		x.Time, x.Timeout = times[0], times[1]
		for _, asJSON := range []bool{false, true} {
			out, err := sessionfile.PrintBytes(marshal(t, &x), true, asJSON)
			if err != nil {
				t.Fatal(err)
			}
			checkOutput(t, out, asJSON)
			if !strings.Contains(out, "0x611b5b324a62") || !strings.Contains(out, "unreadable") || strings.Contains(out, "year") {
				t.Errorf("times %v:\n%s", times, out)
			}
		}
	}
}

func checkOutput(t *testing.T, out string, asJSON bool) {
	t.Helper()
	if asJSON && !json.Valid([]byte(out)) {
		t.Fatalf("not JSON:\n%s", out)
	}
	if strings.ContainsFunc(out, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' }) {
		t.Fatalf("not printable: %q", out)
	}
}

// FuzzPrint: whatever is in a file, there is a printable answer or an error; what converts comes back the same.
func FuzzPrint(f *testing.F) {
	for _, x := range vectors(f) {
		der := marshal(f, x)
		f.Add(der)
		f.Add([]byte(hex.EncodeToString(der)))
		f.Add([]byte(base64.StdEncoding.EncodeToString(der)))
		pem, err := x.MarshalPEM()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem)
	}
	f.Add([]byte(`"\x30\x00"`))
	f.Add(append([]byte{1, 3, 3}, make([]byte, 200)...))
	f.Add(append([]byte{1, 0, 0}, make([]byte, 200)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, asJSON := range []bool{false, true} {
			if out, err := sessionfile.PrintBytes(content, true, asJSON); err == nil {
				checkOutput(t, out, asJSON)
			}
		}
		for _, form := range []sessionfile.Form{"der", "reprise"} {
			once, err := sessionfile.ConvertBytes(content, form)
			if err != nil {
				continue
			}
			if twice, err := sessionfile.ConvertBytes(once, form); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%s: %v\n%x\n%x", form, err, once, twice)
			}
		}
	})
}
