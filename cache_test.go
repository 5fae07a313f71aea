package reprise_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// A server is a cache with what tests need around it: a clock and a record of the callbacks.
type server struct {
	*reprise.Cache
	t   *testing.T
	now time.Time
}

func newServer(t *testing.T, o reprise.Options) *server {
	t.Helper()
	s := &server{t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	o.Now = func() time.Time { return s.now }
	c, err := reprise.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Cache = c
	return s
}

var (
	anyInfo  = reprise.ConnectionInfo{ServerName: "www.example"}
	anySuite = uint16(tls.TLS_AES_128_GCM_SHA256)
	anyOffer = reprise.Offer{Version: tls.VersionTLS13, CipherSuites: []uint16{anySuite}}
)

func anyParams() reprise.SessionParams {
	secret := make([]byte, 32)
	rand.Read(secret)
	return reprise.SessionParams{Version: tls.VersionTLS13, CipherSuite: anySuite, Secret: secret}
}

// accept begins a connection.
func (s *server) accept(info reprise.ConnectionInfo) *reprise.Connection {
	s.t.Helper()
	conn, err := s.Accept(context.Background(), info)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// full makes a full handshake and returns its session.
func (s *server) full() *reprise.Session {
	s.t.Helper()
	conn := s.accept(anyInfo)
	session, err := conn.NewSession(anyParams(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	conn.Complete(true)
	return session
}

// offer makes a handshake that offers a session, and returns how that ended.
func (s *server) offer(session *reprise.Session) reprise.Reason {
	s.t.Helper()
	_, reason := s.offerTo(s.accept(anyInfo), session.ID())
	return reason
}

func (s *server) offerTo(conn *reprise.Connection, id reprise.SessionID) (*reprise.Session, reprise.Reason) {
	found, reason := conn.Lookup(id.Bytes(), anyOffer)
	if reason == reprise.Resumed && conn.Take(found) == reprise.Resumed {
		conn.Resumed(found)
	}
	conn.Complete(true)
	return found, conn.Reason()
}

func TestResumption(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	conn := s.accept(anyInfo)
	found, reason := s.offerTo(conn, session.ID())
	if reason != reprise.Resumed {
		t.Fatalf("offer ended in %v", reason)
	}
	if !bytes.Equal(found.Secret(), session.Secret()) {
		t.Error("resumed with another secret")
	}
	if st := s.Stats(); st.Hits != 1 || st.Misses != 0 || st.Accept != 2 || st.AcceptGood != 2 || st.Number != 1 {
		t.Errorf("stats %+v", st)
	}
}

// discard is a logger for tests whose callbacks panic.
var discard = slog.New(slog.DiscardHandler)
