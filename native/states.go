package native

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/schedule"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// The states of a server's TLS 1.2 handshake (RFC 5246, section 7.3; the session ticket of RFC 5077, section 3):
//
//	full:     expectClientHello → [expectCertificate →] expectClientKeyExchange → [expectCertificateVerify →]
//	          expectChangeCipherSpec → expectFinished
//	resumed:  expectClientHello → expectChangeCipherSpec → expectFinished

// expectClientHello is the first state.
type expectClientHello struct {
	negotiated *Negotiation // nil: still to be done
}

func (s expectClientHello) next(e *engine, m message) (state, error) {
	if !m.is(wire.KindClientHello) {
		return nil, m.unexpected("ClientHello")
	}
	if m.followed { // RFC 5246, section 7.4.1.2: the client waits for a ServerHello
		return nil, alert.UnexpectedMessage.Errorf("native: handshake data behind the ClientHello")
	}
	n := s.negotiated
	hello, raw, err := readHello(m, n)
	if err != nil {
		return nil, err
	}
	e.transcript.begin(raw)
	if n == nil {
		n, err = e.negotiate(hello, raw)
	}
	if fault := checkHello(hello); fault != nil && alert.Of(err) != alert.ProtocolVersion {
		err = fault // the version comes first, as in crypto/tls
	}
	if err != nil {
		return nil, err
	}
	e.config = n.config
	h := &handshake{hello: hello, negotiation: n}
	e.handshake = h
	rand.Read(h.serverHello.Random[:])
	if maxVersion(e.config) > tls.VersionTLS12 {
		// RFC 8446, section 4.1.3: tells a client of TLS 1.3 that somebody has tampered with its hello.
		copy(h.serverHello.Random[24:], "DOWNGRD\x01")
	}
	h.serverHello.ALPN = n.alpn
	h.serverHello.ExtendedMasterSecret = hello.ExtendedMasterSecret
	h.serverHello.RenegotiationInfo = hello.RenegotiationInfo != nil || hello.Offers(wire.RenegotiationSCSV)
	e.result.Version = tls.VersionTLS12
	e.result.ServerName = hello.ServerName
	e.result.NegotiatedProtocol = n.alpn
	e.result.NegotiatedProtocolIsMutual = true //nolint:staticcheck // SA1019: always true, so here too
	e.beginSession(h)
	session, err := h.lookup(e)
	if err != nil {
		return nil, err
	}
	hello.Release() // the client may let us wait
	if session != nil {
		return h.resume(e, session)
	}
	return h.full(e)
}

// readHello reads a ClientHello, unless that was done to negotiate. raw is the message.
func readHello(m message, n *Negotiation) (hello *wire.ClientHello, raw []byte, err error) {
	if n != nil && n.hello != nil {
		return n.hello, n.raw, nil
	}
	hello, raw = new(wire.ClientHello), bytes.Clone(m.raw)
	if !hello.Unmarshal(raw[wire.HeaderLength:]) {
		return nil, nil, m.malformed()
	}
	return hello, raw, nil
}

// checkHello checks what makes a handshake impossible whatever is negotiated.
func checkHello(hello *wire.ClientHello) error {
	switch {
	case !hello.OffersNoCompression():
		return alert.IllegalParameter.Errorf("native: client insists on compression")
	case len(hello.RenegotiationInfo) > 0:
		// RFC 5746, section 3.6
		return alert.HandshakeFailure.Errorf("native: renegotiation_info of a first handshake is not empty")
	}
	return nil
}

// A handshake is what its states have in common.
type handshake struct {
	hello       *wire.ClientHello
	negotiation *Negotiation
	suite       *schedule.Suite
	serverHello wire.ServerHello

	usableMemory [8]uint16 // that usableSuites needs

	sessionID     reprise.SessionID // of the session to be made, if it is sent as session ID
	resumed       *reprise.Session
	master        []byte
	masterPRF     *schedule.PRF
	clientKeys    schedule.Keys
	serverKeys    schedule.Keys
	clientChain   [][]byte
	verifiedChain [][]*x509.Certificate
}

// wipe overwrites the secrets, when the handshake has ended. Those within the hash functions and ciphers of the standard library
// stay, until the garbage collector has their memory used for something else.
func (h *handshake) wipe() {
	clear(h.master)
	h.masterPRF = nil
	h.clientKeys.Wipe()
	h.serverKeys.Wipe()
}

// full begins a full handshake: it sends all up to the ServerHelloDone.
func (h *handshake) full(e *engine) (state, error) {
	n := h.negotiation
	h.suite = n.suite
	asksForCertificate := e.config.ClientAuth != tls.NoClientCert
	e.transcript.choose(h.suite.Hash.New(), asksForCertificate)
	h.promiseSession(e)
	h.serverHello.CipherSuite = h.suite.ID
	h.serverHello.PointFormats = len(h.hello.PointFormats) > 0
	h.serverHello.ServerName = h.hello.ServerName != ""
	h.serverHello.StatusRequest = h.hello.StatusRequest && len(n.certificate.OCSPStaple) > 0
	if h.hello.SCT {
		h.serverHello.SCTs = n.certificate.SignedCertificateTimestamps
	}
	e.result.CipherSuite = h.suite.ID
	e.result.CurveID = n.group

	key, err := generateKey(n.group)
	if err != nil {
		return nil, err
	}
	flight, err := h.serverFlight(e, key)
	if err != nil {
		return nil, err
	}
	if err := e.send(flight...); err != nil {
		return nil, err
	}
	exchange := &expectClientKeyExchange{handshake: h, key: key}
	if asksForCertificate {
		return &expectCertificate{exchange}, nil
	}
	return exchange, nil
}

// serverFlight returns the messages from the ServerHello to the ServerHelloDone.
func (h *handshake) serverFlight(e *engine, key *ecdh.PrivateKey) (flight [][]byte, err error) {
	n := h.negotiation
	add := func(m []byte, failed error) {
		flight = append(flight, m)
		if err == nil {
			err = failed
		}
	}
	add(h.serverHello.Marshal())
	add(wire.MarshalCertificate(n.certificate.Certificate))
	if h.serverHello.StatusRequest {
		add(wire.MarshalCertificateStatus(n.certificate.OCSPStaple))
	}
	params := wire.KeyExchangeParams(n.group, key.PublicKey().Bytes())
	signature, failed := sign(n.certificate, n.scheme, concat(h.hello.Random, h.serverHello.Random[:], params))
	if failed != nil {
		return nil, failed
	}
	add(wire.MarshalServerKeyExchange(params, n.scheme, signature))
	if e.config.ClientAuth != tls.NoClientCert {
		add(wire.MarshalCertificateRequest(schemes, authorities(e.config.ClientCAs)))
	}
	add(wire.MarshalServerHelloDone(), nil)
	return flight, err
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// authorities returns the names of the client CAs, by which a client chooses its certificate.
func authorities(pool *x509.CertPool) [][]byte {
	if pool == nil {
		return nil
	}
	return pool.Subjects() //nolint:staticcheck // SA1019: the system's roots, which it leaves out, are no list to send
}

func generateKey(group tls.CurveID) (*ecdh.PrivateKey, error) {
	return curve(group).GenerateKey(rand.Reader)
}

func curve(group tls.CurveID) ecdh.Curve {
	switch group {
	case tls.CurveP256:
		return ecdh.P256()
	case tls.CurveP384:
		return ecdh.P384()
	case tls.CurveP521:
		return ecdh.P521()
	default:
		return ecdh.X25519()
	}
}

// expectCertificate awaits the client's chain, which may be empty (RFC 5246, section 7.4.6).
type expectCertificate struct {
	exchange *expectClientKeyExchange
}

func (s *expectCertificate) next(e *engine, m message) (state, error) {
	if !m.is(wire.KindCertificate) {
		return nil, m.unexpected("Certificate")
	}
	chain, ok := wire.UnmarshalCertificate(bytes.Clone(m.body))
	if !ok {
		return nil, m.malformed()
	}
	e.transcript.add(m.raw)
	certificates, verified, err := verifyClient(e.config, chain)
	if err != nil {
		return nil, err
	}
	e.result.PeerCertificates, e.result.VerifiedChains = certificates, verified
	h := s.exchange.handshake
	h.clientChain, h.verifiedChain = chain, verified
	return s.exchange, nil
}

// expectClientKeyExchange awaits the client's public key.
type expectClientKeyExchange struct {
	*handshake
	key *ecdh.PrivateKey
}

func (s *expectClientKeyExchange) next(e *engine, m message) (state, error) {
	if !m.is(wire.KindClientKeyExchange) {
		return nil, m.unexpected("ClientKeyExchange")
	}
	public, ok := wire.UnmarshalClientKeyExchange(m.body)
	if !ok {
		return nil, m.malformed()
	}
	e.transcript.add(m.raw)
	// RFC 8422, section 5.11: points off the curve, and results of all zeros, are refused; crypto/ecdh does so.
	peer, err := s.key.Curve().NewPublicKey(public)
	if err != nil {
		return nil, alert.IllegalParameter.Errorf("native: client's public key: %w", err)
	}
	premaster, err := s.key.ECDH(peer)
	if err != nil {
		return nil, alert.IllegalParameter.Errorf("native: client's public key: %w", err)
	}
	defer clear(premaster)
	if s.hello.ExtendedMasterSecret {
		s.master = schedule.ExtendedMasterSecret(s.suite, premaster, e.transcript.sum())
	} else {
		s.master = schedule.MasterSecret(s.suite, premaster, s.hello.Random, s.serverHello.Random[:])
	}
	if err := s.deriveKeys(e); err != nil {
		return nil, err
	}
	if len(s.clientChain) > 0 {
		return &expectCertificateVerify{s.handshake}, nil
	}
	return s.verifyConnection(e, expectChangeCipherSpec{s.handshake})
}

// expectCertificateVerify awaits the proof that the client has its certificate's key (RFC 5246, section 7.4.8).
type expectCertificateVerify struct{ *handshake }

func (s *expectCertificateVerify) next(e *engine, m message) (state, error) {
	if !m.is(wire.KindCertificateVerify) {
		return nil, m.unexpected("CertificateVerify")
	}
	scheme, signature, ok := wire.UnmarshalCertificateVerify(m.body)
	if !ok {
		return nil, m.malformed()
	}
	public := e.result.PeerCertificates[0].PublicKey
	if err := verifySignature(public, scheme, e.transcript.messages, signature); err != nil {
		return nil, err
	}
	e.transcript.add(m.raw)
	e.transcript.messages, e.transcript.keep = nil, false
	return s.verifyConnection(e, expectChangeCipherSpec{s.handshake})
}

// verifyConnection asks the application's VerifyConnection before the handshake goes on.
func (h *handshake) verifyConnection(e *engine, then state) (state, error) {
	if f := e.config.VerifyConnection; f != nil {
		if err := f(e.result); err != nil {
			return nil, alert.BadCertificate.Errorf("native: VerifyConnection: %w", err)
		}
	}
	return then, nil
}

// resume begins a resumed handshake: it sends all, up to the Finished.
func (h *handshake) resume(e *engine, session *reprise.Session) (state, error) {
	h.resumed = session
	h.suite = schedule.SuiteByID(session.CipherSuite())
	e.transcript.choose(h.suite.Hash.New(), false)
	// RFC 5077, section 3.4, and RFC 5246, section 7.4.1.3: the session ID is echoed, whatever named the session.
	h.serverHello.SessionID = h.hello.SessionID
	h.serverHello.CipherSuite = h.suite.ID
	e.connection.Resumed(session)
	e.result.DidResume = true
	e.result.CipherSuite = h.suite.ID
	e.result.CurveID = session.Group()
	if err := e.resumeClientCertificate(session); err != nil {
		return nil, err
	}
	if _, err := h.verifyConnection(e, nil); err != nil {
		return nil, err
	}
	hello, err := h.serverHello.Marshal()
	if err != nil {
		return nil, err
	}
	if err := e.send(hello); err != nil {
		return nil, err
	}
	if err := h.deriveKeys(e); err != nil {
		return nil, err
	}
	if err := h.sendFinished(e); err != nil {
		return nil, err
	}
	return expectChangeCipherSpec{h}, nil
}

// deriveKeys derives what the master secret is needed for.
func (h *handshake) deriveKeys(e *engine) error {
	h.masterPRF = schedule.NewPRF(h.suite, h.master)
	h.clientKeys, h.serverKeys = schedule.ConnectionKeys(h.suite, h.masterPRF, h.hello.Random, h.serverHello.Random[:])
	e.exporter = newExporter(h)
	return e.logSecret(h.hello.Random, h.master)
}

// expectChangeCipherSpec awaits the client's change to protected records (RFC 5246, section 7.1).
type expectChangeCipherSpec struct{ *handshake }

func (s expectChangeCipherSpec) next(e *engine, m message) (state, error) {
	if !m.changeCipherSpec {
		return nil, m.unexpected("ChangeCipherSpec")
	}
	e.in.Protect(s.suite, s.clientKeys)
	s.clientKeys.Wipe()
	return expectFinished(s), nil
}

// expectFinished awaits the client's proof that it knows the secret and has seen the same handshake.
type expectFinished struct{ *handshake }

func (s expectFinished) next(e *engine, m message) (state, error) {
	if !m.is(wire.KindFinished) {
		return nil, m.unexpected("Finished")
	}
	if len(m.body) != schedule.FinishedLength {
		return nil, m.malformed()
	}
	want := schedule.Finished(s.masterPRF, false, e.transcript.sum())
	if !hmac.Equal(m.body, want[:]) {
		return nil, alert.DecryptError.Errorf("native: client's Finished is not genuine")
	}
	if err := s.take(e); err != nil {
		return nil, err
	}
	e.transcript.add(m.raw)
	if s.resumed == nil {
		if err := s.sendTicket(e); err != nil {
			return nil, err
		}
		if err := s.sendFinished(e); err != nil {
			return nil, err
		}
	}
	e.result.HandshakeComplete = true
	return nil, nil
}

// changeCipherSpec is the content of that record.
var changeCipherSpec = []byte{1}

// sendFinished sends the ChangeCipherSpec and, protected, the Finished.
func (h *handshake) sendFinished(e *engine) error {
	if err := e.append(record.ChangeCipherSpec, changeCipherSpec); err != nil {
		return err
	}
	e.out.Protect(h.suite, h.serverKeys)
	h.serverKeys.Wipe()
	verifyData := schedule.Finished(h.masterPRF, true, e.transcript.sum())
	return e.send(wire.MarshalFinished(verifyData[:]))
}

// sendTicket sends the ticket that the ServerHello promised, and makes the session in any case. If it can't be made, the ticket is
// empty (RFC 5077, section 3.3).
func (h *handshake) sendTicket(e *engine) error {
	session := h.makeSession(e)
	if !h.serverHello.SessionTicket {
		return nil
	}
	var ticket []byte
	var lifetime uint32
	if session != nil {
		ticket = session.ID().Bytes()
		lifetime = lifetimeHint(session.Expiry().Sub(session.Created()))
	}
	m, err := wire.MarshalNewSessionTicket(lifetime, ticket)
	if err != nil {
		return err
	}
	return e.send(m)
}

// lifetimeHint is what a session has left, in whole seconds. 0 would mean that nothing is said (RFC 5077, section 3.3), for which
// some clients throw the ticket away.
func lifetimeHint(left time.Duration) uint32 {
	return uint32(min(max(left/time.Second, 1), math.MaxUint32))
}
