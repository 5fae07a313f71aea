package stdtls

import (
	"crypto/rand"
	"crypto/tls"
	"slices"

	"github.com/reprise-tls/reprise"
)

// A handshake has the hooks of one connection. crypto/tls calls them on the goroutine of the handshake, unwrap
// before wrap. It lives as long as the connection.
type handshake struct {
	connection *reprise.Connection
	taker      Taker            // nil if all may be taken
	found      *reprise.Session // what unwrap returned last; nil if it returned nothing

	offeredSuites      []uint16 // by the client
	enabledSuites      []uint16 // by the configuration; nil means those that crypto/tls enables
	extendedMaster     bool     // the ClientHello has the extension
	asksForCertificate bool     // of the client
	isQUIC             bool
	isTracked          bool // somebody else knows when the handshake is complete
}

// unwrap is the UnwrapSession of the connection: it returns the session that the client offers, or nothing, which
// makes a full handshake of it. It never returns an error, since that would end the connection without an alert.
//
// In TLS 1.2 it is called whatever the client offers: identity is nil without a session_ticket extension, empty without a
// ticket. In TLS 1.3 it is called for each PSK identity until one is accepted, 5 times at most, and before the binder
// is verified.
func (h *handshake) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	h.found = nil
	if len(identity) == 0 {
		return nil, nil
	}
	s, reason := h.connection.Lookup(identity, h.offer(&cs))
	if s == nil {
		return nil, nil
	}
	// There is no later moment for a take. A session that is returned for another reason than to be resumed is the one
	// that makes crypto/tls abort the handshake, as RFC 7627, section 5.3, wants it; it is not taken.
	if reason == reprise.Resumed && !h.take(s) {
		return nil, nil
	}
	state, err := h.stateOf(s)
	if err != nil {
		return nil, nil //nolint:nilerr // not a matter of this client; it is counted as refused
	}
	h.found = s
	return state, nil
}

// take takes the session, if it is for single use.
func (h *handshake) take(s *reprise.Session) bool {
	if s.SingleUse() && h.taker != nil && !h.taker.MayTake(s) {
		return false
	}
	return h.connection.Take(s) == reprise.Resumed
}

func (h *handshake) offer(cs *tls.ConnectionState) reprise.Offer {
	offer := reprise.Offer{Version: cs.Version, ExtendedMasterSecret: h.extendedMaster}
	switch {
	case cs.Version >= tls.VersionTLS13:
		offer.CipherSuites = []uint16{cs.CipherSuite}
	case h.enabledSuites == nil:
		offer.CipherSuites = h.offeredSuites
	default:
		for _, suite := range h.offeredSuites {
			if slices.Contains(h.enabledSuites, suite) {
				offer.CipherSuites = append(offer.CipherSuites, suite)
			}
		}
	}
	return offer
}

// wrap is the WrapSession of the connection: it returns the ticket to send. It never returns an error, since that would
// end the connection.
//
// In a full handshake of TLS 1.2 and wherever the client was asked for a certificate, the client has proved itself by
// now. In other full handshakes of TLS 1.3 it has sent nothing but its ClientHello.
func (h *handshake) wrap(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	if cs.DidResume && h.found != nil {
		h.connection.Resumed(h.found)
	}
	ticket := h.ticket(&cs, state)
	if !h.isTracked {
		h.connection.Complete(h.isConfirmed(&cs))
	}
	return ticket, nil
}

func (h *handshake) ticket(cs *tls.ConnectionState, state *tls.SessionState) []byte {
	// A resumed TLS 1.2 connection has the secret of its session. Unless that was used up, it keeps its handle too.
	if cs.DidResume && cs.Version < tls.VersionTLS13 && h.found != nil && !h.found.SingleUse() {
		return h.found.ID().Bytes()
	}
	s, err := h.newSession(cs, state)
	switch {
	case err == nil:
		return s.ID().Bytes()
	case cs.Version < tls.VersionTLS13:
		return nil // RFC 5077, section 3.3: an empty ticket is none
	default:
		return unknownTicket()
	}
}

// unknownTicket returns a ticket that no session has. In TLS 1.3 it is too late to send none when the hook is called,
// and an empty one is a decode error to the client (RFC 8446, section 4.6.1).
func unknownTicket() []byte {
	ticket := make([]byte, reprise.MaxSessionIDLength)
	rand.Read(ticket)
	return ticket
}

// isConfirmed tells whether the client has proved itself when wrap is called.
func (h *handshake) isConfirmed(cs *tls.ConnectionState) bool {
	if cs.Version < tls.VersionTLS13 {
		// The client's Finished comes before the ticket of a full handshake, and after that of a resumed one.
		return !cs.DidResume
	}
	// QUIC sends tickets after the handshake. The binder of a resumed session is verified. A client that was asked for a
	// certificate has answered under the handshake keys.
	return cs.HandshakeComplete || cs.DidResume || h.asksForCertificate
}

func (h *handshake) newSession(cs *tls.ConnectionState, state *tls.SessionState) (*reprise.Session, error) {
	p, err := h.paramsOf(cs, state)
	if err != nil {
		return nil, err
	}
	if state.EarlyData && h.isQUIC { // crypto/tls takes none over TCP
		p.MaxEarlyData = maxEarlyDataQUIC
	}
	return h.connection.NewSession(p, cs.VerifiedChains)
}

// maxEarlyDataQUIC is the max_early_data_size of every QUIC ticket that allows early data (RFC 9001, section 4.6.1).
const maxEarlyDataQUIC = 0xffffffff
