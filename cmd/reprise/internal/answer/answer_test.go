package answer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/answer"
)

func ask(t *testing.T, accept string, report answer.Report) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "https://localhost/any/path", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	answer.New(func(*http.Request) answer.Report { return report }).ServeHTTP(w, r)
	return w
}

func TestJSONForPrograms(t *testing.T) {
	report := answer.Report{
		Resumed: true, Mechanism: "psk", Reason: "resumed", Engine: "crypto/tls", TLSVersion: "TLS 1.3",
		CipherSuite: "TLS_AES_128_GCM_SHA256", Session: "0123456789ab", NewSession: "ba9876543210",
		SessionAge: 7, LineageAge: 60, Generation: 2, Node: "a", ServerName: "localhost",
	}
	for _, accept := range []string{
		"", "*/*", "application/json", "text/plain", ";;q=,", "text/html;q=0, application/xhtml+xml;q=0",
		"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", // Java
		"*/*, text/html;q=0.5",
		"text/html, application/json",
		"application/json, text/html;q=0.9, application/xhtml+xml;q=0.8",
	} {
		w := ask(t, accept, report)
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("Accept %q: Content-Type %q", accept, got)
		}
		var fields map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &fields); err != nil {
			t.Fatalf("Accept %q: %v", accept, err)
		}
		for name, want := range map[string]any{
			"resumed": true, "mechanism": "psk", "reason": "resumed", "engine": "crypto/tls", "tls_version": "TLS 1.3",
			"cipher_suite": "TLS_AES_128_GCM_SHA256", "session": "0123456789ab", "new_session": "ba9876543210",
			"session_age_seconds": 7.0, "lineage_age_seconds": 60.0, "generation": 2.0, "node": "a", "server_name": "localhost",
		} {
			if fields[name] != want {
				t.Errorf("Accept %q: %s is %v, want %v", accept, name, fields[name], want)
			}
		}
	}
}

func TestPageForBrowsers(t *testing.T) {
	hostile := answer.Report{Reason: "not-offered", ServerName: "<script>alert(1)</script>"}
	w := ask(t, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", hostile)
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	body := w.Body.String()
	if strings.Contains(body, "<script") {
		t.Error("what the client sent came back as markup")
	}
	if !strings.Contains(body, "full handshake") || !strings.Contains(body, "not-offered") {
		t.Errorf("the page does not say how the connection was made:\n%s", body)
	}
}

// TestPageByAccept: the header fields of browsers.
func TestPageByAccept(t *testing.T) {
	for _, accept := range []string{
		"text/html",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
		"text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01",
		"TEXT/HTML ; Q=0.9 , application/xhtml+xml",
		"application/xhtml+xml, text/html;q=0.5, application/json;q=0.1",
	} {
		if got := ask(t, accept, answer.Report{}).Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("Accept %q: Content-Type %q", accept, got)
		}
	}
}

// TestPolicyAllowsTheStyle: browsers apply the style only if its hash is the one in the policy.
func TestPolicyAllowsTheStyle(t *testing.T) {
	w := ask(t, "text/html", answer.Report{})
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(w.Body.String())
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, want) {
		t.Errorf("policy %q, want %s in it", got, want)
	}
}

func TestEachAnswerEndsItsConnection(t *testing.T) {
	if got := ask(t, "", answer.Report{}).Header().Get("Connection"); got != "close" {
		t.Errorf("Connection: %q, want close", got)
	}
}
