package sslsession_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/sslsession"
)

func TestSecretsAreNotPrinted(t *testing.T) {
	x := fullSession()
	outer := struct {
		Pointer *sslsession.SSLSession
		Value   sslsession.SSLSession
		Slice   []sslsession.SSLSession
	}{x, *x, []sslsession.SSLSession{*x}}
	var printed bytes.Buffer
	for _, v := range []any{x, *x, outer, &outer} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(encoded)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("m", "session", v)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("m", "session", v)
	}
	if err := xml.NewEncoder(&printed).Encode(x); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&printed, x.String())

	for name, hidden := range map[string][]byte{"secret": x.Secret, "session ID": x.SessionID, "ticket": x.Ticket} {
		for _, form := range []string{
			string(hidden),
			hex.EncodeToString(hidden),
			strings.ToUpper(hex.EncodeToString(hidden)),
			base64.StdEncoding.EncodeToString(hidden),
			strings.Trim(fmt.Sprint(hidden), "[]"),
		} {
			if strings.Contains(printed.String(), form) {
				t.Errorf("the %s was printed as %q", name, form)
			}
		}
	}
	if want := "SSLSession(TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, created 2026-10-26T07:33:20Z)"; x.String() != want {
		t.Errorf("String() = %q, want %q", x.String(), want)
	}
	if got := fmt.Sprint((*sslsession.SSLSession)(nil)); !strings.Contains(got, "nil") {
		t.Errorf("a nil session prints as %q", got)
	}
}
