// Package answer answers HTTP requests with how their connection was made.
package answer

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// A Report says how a TLS connection was made.
type Report struct {
	// Resumed tells whether a session was resumed; else the handshake was a full one.
	Resumed bool `json:"resumed"`
	// Mechanism is by what: psk (TLS 1.3), ticket or session-id (TLS 1.2); empty after a full handshake.
	Mechanism string `json:"mechanism"`
	// Reason is resumed, not-offered, or why the session that the client offered was declined.
	Reason string `json:"reason"`
	// Engine is the implementation of TLS that made the handshake.
	Engine      string `json:"engine"`
	TLSVersion  string `json:"tls_version"`
	CipherSuite string `json:"cipher_suite"`
	// Session is the name of the session that was resumed; after a full handshake of the one that was made. Empty
	// if there is none.
	Session string `json:"session"`
	// NewSession is the name of the session that the client was given, empty if it keeps the one it has.
	NewSession string `json:"new_session"`
	// SessionAge is how long ago Session was made, LineageAge how long ago the full handshake was.
	SessionAge int64 `json:"session_age_seconds"`
	LineageAge int64 `json:"lineage_age_seconds"`
	// Generation counts the sessions that were made one from the other since the full handshake: 0 after it. In TLS
	// 1.2 a resumption makes no new session.
	Generation uint32 `json:"generation"`
	// Node is the server that answers.
	Node string `json:"node"`
	// ServerName is the name that the client asked for.
	ServerName string `json:"server_name"`
}

// New returns a handler that answers every request with the report of its connection: as a page for browsers, else as
// JSON. describe returns the report.
//
// It closes each connection after the answer, so that a client that asks again connects again.
func New(describe func(*http.Request) Report) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", "Accept")
		h.Set("Connection", "close") // net/http turns it into a GOAWAY in HTTP/2
		h.Set("X-Content-Type-Options", "nosniff")
		report := describe(r)
		if wantsPage(r.Header) {
			writePage(w, report)
			return
		}
		h.Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(report) // the client went away
	})
}

// wantsPage reports whether the client is a browser, by its header field Accept (RFC 9110, section 12.5.1). Browsers ask for
// XHTML by name. Programs may name HTML too, as Java does of itself, but then also take anything or JSON.
func wantsPage(h http.Header) bool {
	q := qualities(h)
	if html := max(q["text/html"], q["application/xhtml+xml"]); html == 0 || html < q["application/json"] {
		return false
	}
	return q["application/xhtml+xml"] > 0 || q["*/*"]+q["*"]+q["application/json"] == 0
}

// qualities returns what the client accepts, each with its quality from 0 to 1.
func qualities(h http.Header) map[string]float64 {
	q := make(map[string]float64)
	for _, field := range h.Values("Accept") {
		for element := range strings.SplitSeq(field, ",") {
			mediaType, params, _ := strings.Cut(element, ";")
			q[strings.ToLower(strings.TrimSpace(mediaType))] = quality(params)
		}
	}
	return q
}

// quality returns the parameter q among others, 1 if there is none.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}
