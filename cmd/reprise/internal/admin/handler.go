package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
)

// Options are what an admin interface shows.
type Options struct {
	// Status returns what /_status shows, as JSON.
	Status func() any
	// Draining reports whether the server is about to stop.
	Draining func() bool
	// Metrics answers /metrics.
	Metrics http.Handler
	// Sessions are those of the server.
	Sessions sessions.Source
	// AnyHost allows requests for any host name. Without, only those for a loopback address or localhost are
	// answered, so that no web page reaches the interface under a name of its own that leads here.
	AnyHost bool
}

// NewServer returns the HTTP server of an admin interface.
func NewServer(o Options) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /_status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, o.Status()) })
	mux.HandleFunc("GET /healthz", o.health)
	mux.HandleFunc("GET /sessions", o.list)
	mux.HandleFunc("GET /sessions/{digits}", o.show)
	mux.HandleFunc("DELETE /sessions/{digits}", o.remove)
	mux.HandleFunc("POST /sessions/flush", o.flush)
	mux.HandleFunc("POST /sessions/revoke", o.revoke)
	return &http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(o.checkHost(mux)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// checkHost lets requests for this machine pass, and none that a name of somebody else led here.
func (o Options) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); o.AnyHost || host == "localhost" || ip != nil && ip.IsLoopback() {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, "the admin interface answers to loopback addresses and localhost only", http.StatusForbidden)
	})
}

func (o Options) health(w http.ResponseWriter, _ *http.Request) {
	if o.Draining() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// An element is one of the array that lists sessions: a session, or at the end the error that ended the list.
type element struct {
	*sessions.Entry
	Error string `json:"error,omitempty"`
}

// list writes an array as it iterates, so that any number of sessions takes no memory.
func (o Options) list(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	separator := "["
	for entry, err := range o.Sessions.All(r.Context(), r.FormValue("prefix")) {
		next := element{Entry: &entry}
		if err != nil {
			next = element{Error: err.Error()}
		}
		_, _ = io.WriteString(w, separator)
		if encoder.Encode(next) != nil {
			return // the client went away
		}
		separator = ","
	}
	if separator == "[" {
		_, _ = io.WriteString(w, "[")
	}
	_, _ = io.WriteString(w, "]\n")
}

func (o Options) show(w http.ResponseWriter, r *http.Request) {
	entry, err := sessions.Find(r.Context(), o.Sessions, r.PathValue("digits"))
	writeResult(w, entry, err)
}

func (o Options) remove(w http.ResponseWriter, r *http.Request) {
	entry, err := o.Sessions.Remove(r.Context(), r.PathValue("digits"))
	writeResult(w, entry, err)
}

func (o Options) flush(w http.ResponseWriter, r *http.Request) {
	flushed, err := o.Sessions.Flush(r.Context(), r.FormValue("expired") != "")
	writeResult(w, flushed, err)
}

// maxSelector is the length of the longest selector that is read.
const maxSelector = 4 << 10

func (o Options) revoke(w http.ResponseWriter, r *http.Request) {
	var selector sessions.Selector
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSelector))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&selector); err != nil {
		writeJSON(w, http.StatusBadRequest, failure{Error: "the body is no selector: " + err.Error()})
		return
	}
	revoked, err := o.Sessions.Revoke(r.Context(), selector)
	writeResult(w, revoked, err)
}

// A failure is the body of an answer that is an error.
type failure struct {
	Error      string   `json:"error"`
	Candidates []string `json:"candidates,omitempty"`
	More       bool     `json:"more,omitempty"`
}

func writeResult(w http.ResponseWriter, result any, err error) {
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

func writeError(w http.ResponseWriter, err error) {
	if ambiguous := new(sessions.AmbiguousError); errors.As(err, &ambiguous) {
		writeJSON(w, http.StatusConflict, failure{err.Error(), ambiguous.Candidates, ambiguous.More})
		return
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, sessions.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, sessions.ErrDigits), errors.Is(err, sessions.ErrSelector), errors.Is(err, sessions.ErrFingerprint):
		status = http.StatusBadRequest
	}
	writeJSON(w, status, failure{Error: err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(v) // the client went away
}
