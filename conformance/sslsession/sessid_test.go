package sslsession_test

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/sslsession"
)

// TestSessIDShowsWhatWeWrote: openssl sess_id prints the fields of a session as they are.
func TestSessIDShowsWhatWeWrote(t *testing.T) {
	g := newGenerator(t)
	for range 30 {
		x := g.printable()
		encoded, err := x.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := shown(sessID(t, encoded, "-text", "-noout")), shownFields(x); !maps.Equal(got, want) {
			t.Errorf("sess_id shows\n%q\nwant\n%q\nof\n%s", got, want, encoded)
		}
		if x.PeerCertificate == nil {
			continue
		}
		if block, _ := pem.Decode(sessID(t, encoded, "-cert")); block == nil || !bytes.Equal(block.Bytes, x.PeerCertificate) {
			t.Errorf("sess_id shows another certificate of\n%s", encoded)
		}
	}
}

// sessID returns what openssl sess_id prints of a session in PEM.
func sessID(t *testing.T, session []byte, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), harness.Need(t, "openssl"), append([]string{"sess_id"}, args...)...)
	command.Stdin = bytes.NewReader(session)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, session, output)
	}
	return output
}

// printable returns a session that sess_id can print line by line.
func (g generator) printable() *sslsession.SSLSession {
	x := g.session()
	x.Version = pick[uint16](g, 0x0303, 0x0304)
	x.VerifyResult = int32(pick(g, 0, 1, 10, 18))
	if len(x.Ticket) == 0 {
		x.Ticket = nil // at an empty one sess_id ends
	}
	for _, text := range []*[]byte{&x.PSKIdentityHint, &x.PSKIdentity, &x.SRPUsername} {
		if *text = nil; g.IntN(2) == 0 {
			*text = []byte(fmt.Sprintf("name %d", g.IntN(1000)))
		}
	}
	return x
}

// shownFields returns what sess_id shall print of a session, in its words.
func shownFields(x *sslsession.SSLSession) map[string]string {
	upper := func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
	orNone := func(b []byte) string {
		if b == nil {
			return "None"
		}
		return string(b)
	}
	fields := map[string]string{
		"Protocol":               map[uint16]string{0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}[x.Version],
		"Cipher":                 suites[x.CipherSuite],
		"Session-ID":             upper(x.SessionID),
		"Session-ID-ctx":         upper(x.SessionIDContext),
		"PSK identity":           orNone(x.PSKIdentity),
		"PSK identity hint":      orNone(x.PSKIdentityHint),
		"SRP username":           orNone(x.SRPUsername),
		"Start Time":             fmt.Sprint(x.Time),
		"Timeout":                fmt.Sprintf("%d (sec)", x.Timeout),
		"Verify return code":     fmt.Sprint(x.VerifyResult),
		"Extended master secret": "no",
	}
	if x.ExtendedMasterSecret() {
		fields["Extended master secret"] = "yes"
	}
	if x.Version == 0x0304 {
		fields["Resumption PSK"] = upper(x.Secret)
		fields["Max Early Data"] = fmt.Sprint(x.MaxEarlyData)
	} else {
		fields["Master-Key"] = upper(x.Secret)
	}
	if x.TicketLifetimeHint != 0 {
		fields["TLS session ticket lifetime hint"] = fmt.Sprintf("%d (seconds)", int64(x.TicketLifetimeHint)) // printed as a long
	}
	if x.Ticket != nil {
		fields["TLS session ticket"] = hex.EncodeToString(x.Ticket)
	}
	if x.Compression != 0 {
		fields["Compression"] = fmt.Sprint(x.Compression)
	}
	return fields
}

var (
	dumpLine   = regexp.MustCompile(`^ +[0-9a-f]{4} - (.{47})`)
	verifyText = regexp.MustCompile(` \(.*\)$`)
)

// shown reads what sess_id has printed.
func shown(output []byte) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSuffix(line, "\n")
		if dump := dumpLine.FindStringSubmatch(line); dump != nil {
			fields["TLS session ticket"] += strings.NewReplacer(" ", "", "-", "").Replace(dump[1])
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "SSL-Session" {
			continue
		}
		value = strings.TrimSpace(value)
		if name == "Verify return code" {
			value = verifyText.ReplaceAllString(value, "")
		}
		fields[name] = value
	}
	return fields
}
