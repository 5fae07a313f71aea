package native

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/schedule"
)

// beginSession tells the cache of the connection. If that fails, it goes on without sessions.
func (e *engine) beginSession(h *handshake) {
	connection, err := e.cache.Accept(e.ctx, reprise.ConnectionInfo{
		ServerName:            h.hello.ServerName,
		ClientAuth:            e.config.ClientAuth,
		ClientCAs:             e.config.ClientCAs,
		VerifyPeerCertificate: e.config.VerifyPeerCertificate,
		CertificateTime:       e.config.Time,
		RemoteAddr:            e.conn.RemoteAddr(),
	})
	if err == nil {
		e.connection = connection
	}
}

// lookup returns the session that the client offers and that may be resumed, nil if there is none. An error ends the
// connection: RFC 7627, section 5.3, demands it of one case.
func (h *handshake) lookup(e *engine) (*reprise.Session, error) {
	if e.connection == nil {
		return nil, nil
	}
	session, reason := e.connection.Lookup(h.offered(e), reprise.Offer{
		Version:              tls.VersionTLS12,
		CipherSuites:         h.usableSuites(e.config),
		ExtendedMasterSecret: h.hello.ExtendedMasterSecret,
		MayBeRandom:          !e.byTicket && h.mayMakeUpID(),
	})
	switch {
	case reason == reprise.ExtendedMasterSecret && session != nil:
		return nil, alert.HandshakeFailure.Wrap(errors.New("native: session with extended master secret, ClientHello without"))
	case reason != reprise.Resumed:
		return nil, nil
	}
	// Nothing that comes from a TLS 1.2 client before its Finished proves anything, so a session for single use is not taken yet
	// (docs/decisions/0008-when-a-session-is-taken.md).
	if h.master = session.Secret(); len(h.master) != schedule.MasterSecretLength || e.connection.Reserve(session) != reprise.Resumed {
		clear(h.master)
		return nil, nil
	}
	return session, nil
}

// take takes the session that was resumed, if it is for single use, now that the client has proved itself. Another node may have
// been faster; then the keys are agreed and there is no way back to a full handshake.
func (h *handshake) take(e *engine) error {
	if h.resumed == nil {
		return nil
	}
	if reason := e.connection.Take(h.resumed); reason != reprise.Resumed {
		return alert.HandshakeFailure.Errorf("native: taking the session for single use: %v", reason)
	}
	return nil
}

// offered returns the ID that the client offers: its ticket, and only without a ticket its session ID, which then means nothing (RFC
// 5077, section 3.4).
func (h *handshake) offered(e *engine) []byte {
	if len(h.hello.SessionTicket) > 0 && !e.config.SessionTicketsDisabled {
		e.byTicket = true
		return h.hello.SessionTicket
	}
	return h.hello.SessionID
}

// mayMakeUpID tells whether the client may send a session ID that names nothing: RFC 8446, appendix D.4, has clients of TLS 1.3 do
// so, and RFC 5077, section 3.4, lets those that take tickets.
func (h *handshake) mayMakeUpID() bool {
	return h.hello.SessionTicket != nil || slices.Contains(h.hello.SupportedVersions, tls.VersionTLS13)
}

// usableSuites returns the suites that a session may be resumed with: those that the client offers and the server has enabled.
func (h *handshake) usableSuites(config *tls.Config) []uint16 {
	usable := h.usableMemory[:0]
	for _, id := range h.hello.CipherSuites {
		if schedule.SuiteByID(id) != nil && enabled(config, id) {
			usable = append(usable, id)
		}
	}
	return usable
}

// promiseSession decides how the session of a full handshake will be offered to the client: as a ticket if it takes
// tickets, and then with an empty session ID (RFC 5077, section 3.4), else as a session ID.
func (h *handshake) promiseSession(e *engine) {
	if e.connection == nil {
		return
	}
	if h.hello.SessionTicket != nil && !e.config.SessionTicketsDisabled {
		h.serverHello.SessionTicket = true
		return
	}
	id, err := e.connection.NewID()
	if err == nil {
		h.sessionID, h.serverHello.SessionID = id, id.Bytes()
	}
}

// makeSession makes the session of a full handshake, nil if that can't be.
func (h *handshake) makeSession(e *engine) *reprise.Session {
	if e.connection == nil || !h.serverHello.SessionTicket && h.sessionID.IsZero() {
		return nil
	}
	session, err := e.connection.NewSession(reprise.SessionParams{
		ID:                   h.sessionID,
		Version:              tls.VersionTLS12,
		CipherSuite:          h.suite.ID,
		Group:                h.negotiation.group,
		Secret:               h.master,
		ExtendedMasterSecret: h.hello.ExtendedMasterSecret,
		ALPN:                 h.negotiation.alpn,
		PeerCertificates:     h.clientChain,
	}, h.verifiedChain)
	if err != nil {
		return nil
	}
	return session
}

// resumeClientCertificate puts the client's certificate of a session into the connection state. The cache has verified
// it again.
func (e *engine) resumeClientCertificate(session *reprise.Session) error {
	if !session.HasPeerCertificates() {
		return nil
	}
	e.result.VerifiedChains = e.connection.VerifiedChains(session)
	for _, der := range session.PeerCertificates() {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return alert.InternalError.Errorf("native: client certificate of the session: %w", err)
		}
		e.result.PeerCertificates = append(e.result.PeerCertificates, certificate)
	}
	return nil
}
