package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// seen is what callbacks and keys have seen of a connection.
type seen struct {
	hello      bool // GetConfigForClient was called
	protocols  []string
	schemes    []tls.SignatureScheme
	credential int // that has signed; defaultCredential is that of -cert-file
}

const defaultCredential = -1

// check holds the connection to what the runner expects.
func (c *connection) check(conn *native.Conn) error {
	state := conn.ConnectionState()
	switch {
	case !state.HandshakeComplete:
		return errors.New("bogo: the handshake is not complete")
	case state.DidResume != (c.isResumption && !c.expectSessionMiss):
		return fmt.Errorf("bogo: resumed: %v", state.DidResume)
	case c.expectServerName != "" && state.ServerName != c.expectServerName:
		return fmt.Errorf("bogo: server name %q", state.ServerName)
	case c.expectGroup != 0 && state.CurveID != c.expectGroup:
		return fmt.Errorf("bogo: group %v", state.CurveID)
	case state.NegotiatedProtocol != c.selectALPN:
		return fmt.Errorf("bogo: protocol %q", state.NegotiatedProtocol)
	case c.useEarlyCallback && !c.seen.hello:
		return errors.New("bogo: GetConfigForClient was not called")
	case c.expectAdvertisedALPN != nil && !slices.Equal(c.seen.protocols, c.expectAdvertisedALPN):
		return fmt.Errorf("bogo: client offers the protocols %q", c.seen.protocols)
	case c.expectOfferedSchemes != nil && !slices.Equal(c.seen.schemes, c.expectOfferedSchemes):
		return fmt.Errorf("bogo: client takes the signatures %v", c.seen.schemes)
	case c.expectNoHRR && state.HelloRetryRequest:
		return errors.New("bogo: HelloRetryRequest")
	case c.expectCredential != nil && c.seen.credential != *c.expectCredential:
		return fmt.Errorf("bogo: credential %d was used", c.seen.credential)
	}
	for _, err := range []error{c.checkClient(state), c.checkSignature(state), c.checkSessionID()} {
		if err != nil {
			return err
		}
	}
	if c.expectEMS { // there is nothing to be exported without
		_, err := conn.ExportKeyingMaterial("bogo", nil, 1)
		return err
	}
	return nil
}

// checkClient checks the client's certificate.
func (c *connection) checkClient(state tls.ConnectionState) error {
	count := len(state.PeerCertificates)
	switch {
	case c.requireCertificate && count == 0:
		return errors.New("bogo: no client certificate")
	case c.expectVerifyResult && count > 0 && len(state.VerifiedChains) == 0:
		return errors.New("bogo: client certificate was not verified")
	case c.expectPeerCertificate == nil:
		return nil
	case !slices.EqualFunc(state.PeerCertificates, c.expectPeerCertificate.Certificate,
		func(got *x509.Certificate, want []byte) bool { return bytes.Equal(got.Raw, want) }):
		return fmt.Errorf("bogo: another client certificate, in a chain of %d", count)
	}
	return nil
}

// checkSignature checks the scheme of the client's CertificateVerify, which only a full handshake has.
func (c *connection) checkSignature(state tls.ConnectionState) error {
	if state.DidResume || len(state.PeerCertificates) == 0 {
		return nil
	}
	scheme, _, ok := wire.UnmarshalCertificateVerify(c.tap.fromClient.message(wire.KindCertificateVerify))
	switch {
	case !ok:
		return errors.New("bogo: no CertificateVerify")
	case c.expectPeerScheme != 0 && scheme != c.expectPeerScheme:
		return fmt.Errorf("bogo: client has signed with %v", scheme)
	case c.verifyPrefs != nil && !slices.Contains(c.verifyPrefs, scheme):
		return fmt.Errorf("bogo: client has signed with %v", scheme)
	}
	return nil
}

// checkSessionID checks whether the ServerHello of a full handshake names a session.
func (c *connection) checkSessionID() error {
	if c.isResumption || !c.expectSessionID && !c.expectNoSessionID {
		return nil
	}
	hello := c.tap.fromServer.message(wire.KindServerHello)
	const sessionIDLengthAt = 2 + 32 // behind version and random
	if len(hello) <= sessionIDLengthAt {
		return errors.New("bogo: no ServerHello")
	}
	if got := hello[sessionIDLengthAt] != 0; got != c.expectSessionID {
		return fmt.Errorf("bogo: session ID in the ServerHello: %v", got)
	}
	return nil
}
