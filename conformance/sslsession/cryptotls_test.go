package sslsession_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/sslsession"
	"github.com/reprise-tls/reprise/stdtls"
)

// TestSessionsTravelBetweenCryptoTLSAndLibssl: one client goes from a server of crypto/tls to one of libssl and back. Its first session
// is ours; the second one libssl makes from it.
func TestSessionsTravelBetweenCryptoTLSAndLibssl(t *testing.T) {
	files := harness.NewFiles(t)
	ours, client := newServer(t), newClient(t)

	if client.connect(t, ours.serve(t)).DidResume {
		t.Fatal("resumed from nothing")
	}
	first := ours.last(t)

	conn, report := libsslServer(t, files, marshal(t, fromSession(t, first)))
	if !client.connect(t, conn).DidResume {
		t.Error("libssl has not resumed a session of crypto/tls")
	}
	sessions := report().sessions
	if len(sessions) == 0 {
		t.Fatal("libssl has made no session")
	}

	second := toSession(t, sessions[len(sessions)-1], sslsession.Foreign{})
	ours.add(second)
	if !client.connect(t, ours.serve(t)).DidResume {
		t.Error("crypto/tls has not resumed what libssl made of its session")
	}
	if got, want := ours.last(t).Lineage(), first.Lineage(); got.ID != want.ID || got.Generation != 2 {
		t.Errorf("lineage %+v, want the second generation of %+v", got, want)
	}
}

// TestCryptoTLSResumesSessionOfLibssl: the session has never seen this software.
func TestCryptoTLSResumesSessionOfLibssl(t *testing.T) {
	files := harness.NewFiles(t)
	ours, client := newServer(t), newClient(t)
	scope := reprise.ScopeOf(reprise.ConnectionInfo{Context: []byte(sessionContext), ServerName: harness.NameA})

	conn, report := libsslServer(t, files)
	if client.connect(t, conn).DidResume {
		t.Fatal("resumed from nothing")
	}
	for _, der := range report().sessions {
		ours.add(toSession(t, der, sslsession.Foreign{Scope: scope, Context: []byte(sessionContext)}))
	}
	if !client.connect(t, ours.serve(t)).DidResume {
		t.Error("crypto/tls has not resumed a session of libssl")
	}
}

func toSession(t *testing.T, der []byte, f sslsession.Foreign) *reprise.Session {
	t.Helper()
	x, _, err := sslsession.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sslsession.ToSession(x, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// libsslServer starts a server that has sessions. report waits for its end.
func libsslServer(t *testing.T, files *harness.Files, sessions ...[]byte) (conn net.Conn, report func() report) {
	t.Helper()
	conn, file := newConn(t)
	p := startPeer(t, "server", file, sessions, "context="+sessionContext, "cert="+files.Cert, "key="+files.Key)
	return conn, p.wait
}

// A server is crypto/tls with a session cache, whose external cache is a map.
type server struct {
	config *tls.Config

	mu       sync.Mutex
	sessions map[reprise.SessionID]*reprise.Session
	made     []*reprise.Session
}

func newServer(t *testing.T) *server {
	t.Helper()
	cache, err := reprise.New(reprise.Options{Context: []byte(sessionContext)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	cache.SetMode(reprise.ModeServer | reprise.ModeNoInternal)
	_, certificate := certtest.Shared(t)
	s := &server{
		config:   &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13},
		sessions: make(map[reprise.SessionID]*reprise.Session),
	}
	cache.SetNewCallback(func(_ *reprise.Cache, session *reprise.Session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made = append(s.made, session)
		return true
	})
	cache.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sessions[id], nil
	})
	if err := stdtls.Attach(s.config, cache); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) add(session *reprise.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[session.ID()] = session
}

// last returns the session that was made last. The client must have read all that the server wrote.
func (s *server) last(t *testing.T) *reprise.Session {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.made) == 0 {
		t.Fatal("no session was made")
	}
	return s.made[len(s.made)-1]
}

// serve makes a connection, and returns the client's side of it.
func (s *server) serve(t *testing.T) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	for _, conn := range []net.Conn{ours, theirs} {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	go func() {
		conn := tls.Server(ours, s.config)
		defer conn.Close()
		_, _ = conn.Write([]byte("hello")) // an error is the client's too
	}()
	return theirs
}

// A client is crypto/tls with a session cache of its own.
type client struct{ config *tls.Config }

func newClient(t *testing.T) client {
	t.Helper()
	authority, _ := certtest.Shared(t)
	return client{&tls.Config{
		RootCAs:            authority.Pool(),
		ServerName:         harness.NameA,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}
}

// connect makes a handshake and reads until the server ends the connection.
func (c client) connect(t *testing.T, to net.Conn) tls.ConnectionState {
	t.Helper()
	conn := tls.Client(to, c.config)
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return conn.ConnectionState()
}
