package listen

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// Info tells how a connection was made.
type Info struct {
	// Resumed tells that it resumed a session, Reason why not otherwise.
	Resumed bool
	Reason  reprise.Reason
	// Mechanism is how the session was resumed: [MechanismPSK], [MechanismTicket] or [MechanismSessionID]. It is empty
	// after a full handshake.
	Mechanism string
	// Engine is what did the handshake: [EngineStandard] or [EngineNative].
	Engine string
	// Session is the connection's session: the one made for it, or else the one resumed. nil if there is none.
	Session *reprise.Session
	// ResumedSession is the session that was resumed, nil after a full handshake.
	ResumedSession *reprise.Session
	// Scope is where the connection's session resumes; zero if the connection has no sessions at all.
	Scope reprise.Scope
}

// Values of [Info].Mechanism.
const (
	MechanismPSK       = "psk"        // TLS 1.3
	MechanismTicket    = "ticket"     // TLS 1.2, RFC 5077
	MechanismSessionID = "session-id" // TLS 1.2, RFC 5246
)

// InfoOf returns how conn was made. conn is what [Listener.Accept] returned, or has a method NetConn that leads there; ok
// is false if it is neither.
func InfoOf(conn net.Conn) (info Info, ok bool) {
	var connection *reprise.Connection
	mechanism := MechanismPSK
	switch c := below(conn).(type) {
	case *rawConn:
		info.Engine, connection = EngineStandard, c.connection
	case *native.Conn:
		info.Engine, connection = EngineNative, c.Connection()
		if !c.OfferedTicket() {
			mechanism = MechanismSessionID
		}
	default:
		return Info{}, false
	}
	if connection == nil {
		return info, true
	}
	info.Reason = connection.Reason()
	info.Session = connection.Session()
	info.ResumedSession = connection.ResumedSession()
	info.Scope = connection.Scope()
	if s := info.ResumedSession; s != nil {
		if s.Version() < tls.VersionTLS13 && mechanism == MechanismPSK {
			mechanism = MechanismTicket
		}
		info.Resumed, info.Mechanism = true, mechanism
	}
	return info, true
}

// SessionOf returns the session of conn (SSL_get_session(3)): the one made for it, or else the one resumed. ok is
// false if it has none. conn is as in [InfoOf].
func SessionOf(conn net.Conn) (s *reprise.Session, ok bool) {
	info, _ := InfoOf(conn)
	return info.Session, info.Session != nil
}

// maxLayers is through how many methods NetConn a connection is looked for: a bound for those that lead in a circle.
const maxLayers = 16

// below returns the connection that knows of its handshake which conn is, or lies on: a *rawConn or a *native.Conn.
func below(conn net.Conn) net.Conn {
	for range maxLayers {
		switch c := conn.(type) {
		case *rawConn, *native.Conn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}

type contextKey struct{}

// ConnContext returns a child of ctx from which [FromContext] gets conn. It is for the field ConnContext of
// [net/http.Server].
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, conn)
}

// FromContext returns the [Info] of the connection that [ConnContext] has put into ctx; ok is as in [InfoOf], and false
// if there is none.
func FromContext(ctx context.Context) (info Info, ok bool) {
	conn, _ := ctx.Value(contextKey{}).(net.Conn)
	return InfoOf(conn)
}
