package stdtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/tlsstate"
)

// paramsOf returns the parts of a new session that crypto/tls hands out in state. It is opaque if there is
// something in it that a [reprise.Session] has no place for.
func (h *handshake) paramsOf(cs *tls.ConnectionState, state *tls.SessionState) (reprise.SessionParams, error) {
	p := reprise.SessionParams{
		Version:          cs.Version,
		CipherSuite:      cs.CipherSuite,
		Group:            cs.CurveID,
		ALPN:             cs.NegotiatedProtocol,
		PeerCertificates: rawChain(cs.PeerCertificates),
	}
	encoded, err := state.Bytes()
	if err != nil {
		return p, err
	}
	known, err := parse(encoded)
	if err != nil {
		p.Opaque = encoded
		p.ExtendedMasterSecret = h.extendedMaster && cs.Version < tls.VersionTLS13 // crypto/tls uses it whenever the client does
		return p, nil
	}
	p.Secret = known.Secret
	p.ExtendedMasterSecret = known.ExtendedMasterSecret
	if len(known.LeafExtensions) > 0 { // the client's OCSP staple, its SCTs
		p.Opaque = encoded
		return p, nil
	}
	p.ApplicationData = known.Extra
	return p, nil
}

// stateOf returns s as crypto/tls wants it: with today's verified chains of the client certificate, and with early data
// only where it may be used. Each call returns another state, because QUIC stacks change it.
func (h *handshake) stateOf(s *reprise.Session) (*tls.SessionState, error) {
	earlyData := h.isQUIC && h.connection.Cache().MayAcceptEarlyData(s)
	state, err := contentOf(s)
	if err != nil {
		return opaqueState(s, earlyData)
	}
	state.EarlyData = earlyData
	state.ALPN = s.ALPN()
	state.VerifiedChains = nil
	for _, chain := range h.connection.VerifiedChains(s) {
		state.VerifiedChains = append(state.VerifiedChains, rawChain(chain[1:]))
	}
	encoded, err := state.Marshal()
	if err != nil {
		return nil, err
	}
	return tls.ParseSessionState(encoded)
}

// contentOf returns the fields of s. It fails if crypto/tls encodes them in a way that is not known.
func contentOf(s *reprise.Session) (tlsstate.State, error) {
	if opaque := s.Opaque(); len(opaque) > 0 {
		return parse(opaque)
	}
	if !isConvertible() {
		return tlsstate.State{}, errNotConvertible
	}
	return tlsstate.State{
		Version:              s.Version(),
		CipherSuite:          s.CipherSuite(),
		CreatedAt:            uint64(s.Created().Unix()),
		Secret:               s.Secret(),
		Extra:                s.ApplicationData(),
		ExtendedMasterSecret: s.ExtendedMasterSecret(),
		Certificates:         s.PeerCertificates(),
		Curve:                s.Group(),
	}, nil
}

// opaqueState returns a session that only crypto/tls can read. Its chains are those of the full handshake.
func opaqueState(s *reprise.Session, earlyData bool) (*tls.SessionState, error) {
	opaque := s.Opaque()
	if len(opaque) == 0 {
		return nil, errNotConvertible
	}
	state, err := tls.ParseSessionState(opaque)
	if err != nil {
		return nil, err
	}
	state.EarlyData = state.EarlyData && earlyData
	return state, nil
}

// isConvertible is a variable for tests.
var isConvertible = tlsstate.Convertible

var errNotConvertible = errors.New("stdtls: crypto/tls encodes its session states in a way that is not known")

func parse(encoded []byte) (tlsstate.State, error) {
	if !isConvertible() {
		return tlsstate.State{}, errNotConvertible
	}
	return tlsstate.Parse(encoded)
}

func rawChain(chain []*x509.Certificate) [][]byte {
	if len(chain) == 0 {
		return nil
	}
	raw := make([][]byte, len(chain))
	for i, certificate := range chain {
		raw[i] = certificate.Raw
	}
	return raw
}
