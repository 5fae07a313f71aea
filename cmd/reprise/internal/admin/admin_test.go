package admin_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
)

// fake is a source of sessions with the names given, and an error at the end.
type fake struct {
	names []string
	err   error
}

func (f *fake) All(_ context.Context, prefix string) iter.Seq2[sessions.Entry, error] {
	return func(yield func(sessions.Entry, error) bool) {
		for _, name := range f.names {
			entry := sessions.Entry{Session: name, Cached: true, Details: &sessions.Details{ServerName: "a.example"}}
			if strings.HasPrefix(name, prefix) && !yield(entry, nil) {
				return
			}
		}
		if f.err != nil {
			yield(sessions.Entry{}, f.err)
		}
	}
}

func (f *fake) Remove(ctx context.Context, digits string) (sessions.Entry, error) {
	entry, err := sessions.Find(ctx, f, digits)
	if err == nil {
		f.names = slices.DeleteFunc(f.names, func(name string) bool { return name == entry.Session })
	}
	return entry, err
}

func (f *fake) Flush(_ context.Context, expiredOnly bool) (sessions.Flushed, error) {
	if expiredOnly {
		return sessions.Flushed{}, nil
	}
	n := len(f.names)
	f.names = nil
	return sessions.Flushed{Cached: n, Stored: -1}, nil
}

func (f *fake) Revoke(_ context.Context, s sessions.Selector) (sessions.Revoked, error) {
	if err := s.Check(); err != nil {
		return sessions.Revoked{}, err
	}
	return sessions.Revoked{Revoked: s.ServerName}, f.err
}

func newServer(source sessions.Source) *http.Server {
	return admin.NewServer(admin.Options{
		Status:   func() any { return map[string]int{"answer": 42} },
		Draining: func() bool { return false },
		Metrics:  http.NotFoundHandler(),
		Sessions: source,
	})
}

// connect serves source on a socket and returns a client.
func connect(t *testing.T, source sessions.Source) *admin.Client {
	t.Helper()
	addr := admin.Address{Network: "unix", Addr: filepath.Join(t.TempDir(), "admin.sock")}
	l, err := admin.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(source)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return admin.NewClient(addr)
}

func names(t *testing.T, source sessions.Source, prefix string) (names []string, err error) {
	t.Helper()
	for entry, err := range source.All(t.Context(), prefix) {
		if err != nil {
			return names, err
		}
		if entry.Details == nil || entry.ServerName != "a.example" {
			t.Errorf("details of %s got lost: %+v", entry.Session, entry.Details)
		}
		names = append(names, entry.Session)
	}
	return names, nil
}

// TestClient: what the server's source says arrives at the client, errors too.
func TestClient(t *testing.T) {
	source := &fake{names: []string{"aaaaaaaaaaaa", "aabbbbbbbbbb", "cccccccccccc"}}
	client := connect(t, source)

	if got, err := names(t, client, ""); err != nil || !slices.Equal(got, source.names) {
		t.Errorf("All() = %v, %v", got, err)
	}
	if got, err := names(t, client, "aa"); err != nil || len(got) != 2 {
		t.Errorf("All(aa) = %v, %v", got, err)
	}
	for _, err := range client.All(t.Context(), "") {
		if err != nil {
			t.Error(err)
		}
		break // does no harm
	}
	var ambiguous *sessions.AmbiguousError
	if _, err := client.Remove(t.Context(), "aa"); !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 2 {
		t.Errorf("Remove(aa): %v, want two candidates", err)
	}
	if _, err := client.Remove(t.Context(), "dd"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Remove(dd): %v", err)
	}
	if _, err := client.Remove(t.Context(), "../x"); !errors.Is(err, sessions.ErrDigits) {
		t.Errorf("Remove(../x): %v", err)
	}
	if entry, err := client.Remove(t.Context(), "abb"); err == nil {
		t.Errorf("Remove(abb) = %v", entry)
	}
	if entry, err := client.Remove(t.Context(), "aab"); err != nil || entry.Session != "aabbbbbbbbbb" {
		t.Errorf("Remove(aab) = %v, %v", entry, err)
	}
	if f, err := client.Flush(t.Context(), true); err != nil || f.Cached != 0 || len(source.names) != 2 {
		t.Errorf("Flush(expired) = %v, %v", f, err)
	}
	if f, err := client.Flush(t.Context(), false); err != nil || f != (sessions.Flushed{Cached: 2, Stored: -1}) {
		t.Errorf("Flush = %v, %v", f, err)
	}
}

// TestListThatFails: half a list is not taken for a whole one.
func TestListThatFails(t *testing.T) {
	broken := errors.New("the store is broken")
	if _, err := names(t, connect(t, &fake{err: broken}), ""); err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("error at the beginning: %v", err)
	}
	got, err := names(t, connect(t, &fake{names: []string{"aaaaaaaaaaaa"}, err: broken}), "")
	if err == nil {
		t.Errorf("error after %v was not seen", got)
	}
}

// TestOtherHosts: a web page that leads its own name to this machine gets nothing, and neither does one that posts from
// elsewhere.
func TestOtherHosts(t *testing.T) {
	source := &fake{names: []string{"aaaaaaaaaaaa"}}
	handler := newServer(source).Handler
	for host, want := range map[string]int{
		"localhost:9443": 200, "127.0.0.1": 200, "[::1]:9443": 200, "evil.example": 403, "evil.example:9443": 403, "192.0.2.1": 403,
	} {
		r := httptest.NewRequest("GET", "/_status", nil)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %s: %d, want %d", host, w.Code, want)
		}
	}
	r := httptest.NewRequest("POST", "http://localhost/sessions/flush", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || len(source.names) != 1 {
		t.Errorf("post of another site: %d, %d sessions left", w.Code, len(source.names))
	}
}

func TestListenReplacesStaleSocketsOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	addr := admin.Address{Network: "unix", Addr: path}
	first, err := admin.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	go func() {
		for {
			conn, err := first.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	if _, err := admin.Listen(addr); err == nil {
		t.Error("a live socket was replaced")
	}

	first.(*net.UnixListener).SetUnlinkOnClose(false) // as kill -9 leaves it
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := admin.Listen(addr)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	_ = second.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen(addr); err == nil {
		t.Error("a file was replaced")
	}
}

func TestClientWithoutServer(t *testing.T) {
	client := admin.NewClient(admin.Address{Network: "unix", Addr: filepath.Join(t.TempDir(), "none.sock")})
	_, err := client.Flush(t.Context(), false)
	if hinted := new(hint.Error); !errors.As(err, &hinted) {
		t.Errorf("no socket: error %v, want one with a hint", err)
	}

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "another server")
	}))
	defer other.Close()
	client = admin.NewClient(admin.Address{Network: "tcp", Addr: other.Listener.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := client.Flush(ctx, false); err == nil || !strings.Contains(err.Error(), "is it the admin address?") {
		t.Errorf("another server: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	source := &fake{}
	client := connect(t, source)
	if r, err := client.Revoke(t.Context(), sessions.Selector{ServerName: "a.example"}); err != nil || r.Revoked != "a.example" {
		t.Errorf("Revoke = %v, %v", r, err)
	}
	source.err = errors.New("the store is dead")
	if _, err := client.Revoke(t.Context(), sessions.Selector{ServerName: "a.example"}); err == nil || !strings.Contains(err.Error(), "dead") {
		t.Errorf("a dead store: %v", err)
	}
	handler := newServer(source).Handler
	for body, want := range map[string]int{
		`{}`: http.StatusBadRequest, `{"all":true,"context":"x"}`: http.StatusBadRequest, `{"everything":true}`: http.StatusBadRequest, "": http.StatusBadRequest,
		`{"client_cert":"abc"}`: http.StatusBadRequest, `{"session":"xyz"}`: http.StatusBadRequest,
		`{"context":"` + strings.Repeat("x", 5000) + `"}`: http.StatusBadRequest,
	} {
		request := httptest.NewRequest(http.MethodPost, "http://localhost/sessions/revoke", strings.NewReader(body))
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("%.40s is answered by %d, want %d", body, answer.Code, want)
		}
	}
}
