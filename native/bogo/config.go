package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"time"
)

var errAsked = errors.New("bogo: asked to fail")

// config makes the configuration that the flags describe.
func (c *connection) config() (*tls.Config, error) {
	if !c.allowsVersion(tls.VersionTLS12) {
		return nil, unimplemented("a test of another version of TLS")
	}
	config := &tls.Config{
		MaxVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: c.noTicket,
		CurvePreferences:       c.groups,
	}
	if c.useEarlyCallback || c.useHelloCallback || c.expectAdvertisedALPN != nil || c.expectOfferedSchemes != nil {
		config.GetConfigForClient = c.sawHello
	}
	if !c.allowsVersion(tls.VersionTLS13) {
		config.MaxVersion = tls.VersionTLS12
	}
	switch {
	case c.declineALPN:
	case c.rejectALPN:
		config.NextProtos = []string{"bogo-rejects-all"}
	case c.selectALPN != "":
		config.NextProtos = []string{c.selectALPN}
	}
	for _, set := range []func(*tls.Config) error{c.setCertificates, c.setClientAuth} {
		if err := set(config); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// sawHello is what GetConfigForClient calls. It takes the place of those of BoringSSL's callbacks that come early.
func (c *connection) sawHello(info *tls.ClientHelloInfo) (*tls.Config, error) {
	c.seen.hello, c.seen.protocols, c.seen.schemes = true, info.SupportedProtos, info.SignatureSchemes
	if c.failHello {
		return nil, errAsked
	}
	return nil, nil
}

// setCertificates configures the credentials in their order, and behind them the certificate.
func (c *connection) setCertificates(config *tls.Config) error {
	for i, credential := range c.credentials {
		certificate, err := c.load(credential, i)
		if err != nil {
			return err
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	if c.certificate != nil {
		certificate, err := c.load(c.certificate, defaultCredential)
		if err != nil {
			return err
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	if len(config.Certificates) == 0 {
		return unimplemented("a server without a certificate")
	}
	if c.failCertCallback || c.useOCSPCallback {
		certificate := config.Certificates[0]
		config.Certificates = nil
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.chosen(certificate) }
	}
	return nil
}

// chosen is what GetCertificate returns. It takes the place of BoringSSL's callback for OCSP responses.
func (c *connection) chosen(certificate tls.Certificate) (*tls.Certificate, error) {
	if c.failCertCallback || c.failOCSP {
		return nil, errAsked
	}
	if !c.setOCSP {
		certificate.OCSPStaple = nil
	}
	return &certificate, nil
}

func (c *connection) load(from *credential, index int) (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(from.certFile, from.keyFile)
	if err != nil {
		return certificate, unimplemented("a certificate that crypto/tls does not load: %v", err)
	}
	certificate.OCSPStaple = from.ocspResponse
	certificate.SignedCertificateTimestamps = from.scts
	certificate.SupportedSignatureAlgorithms = from.signingPrefs
	certificate.PrivateKey = signer{certificate.PrivateKey.(crypto.Signer), func() { c.seen.credential = index }}
	return certificate, nil
}

// A signer is a key that tells when it is used.
type signer struct {
	crypto.Signer
	used func()
}

func (s signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.used()
	return s.Signer.Sign(random, digest, opts)
}

// setClientAuth configures how clients are asked for certificates. Where the runner has them verified, they are.
func (c *connection) setClientAuth(config *tls.Config) error {
	if c.trustCert != "" {
		chain, err := loadChain(c.trustCert)
		if err != nil {
			return err
		}
		config.ClientCAs = x509.NewCertPool()
		for _, der := range chain.Certificate {
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return unimplemented("a root that crypto/x509 does not parse: %v", err)
			}
			config.ClientCAs.AddCert(certificate)
		}
	}
	if c.clientCAs != nil {
		var err error
		if config.ClientCAs, err = poolOf(c.clientCAs); err != nil {
			return err
		}
	}
	switch {
	case c.requireCertificate && c.verifyPeer:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	case c.requireCertificate:
		config.ClientAuth = tls.RequireAnyClientCert
	case c.verifyPeer:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if c.useVerifyCallback || c.verifyFail {
		config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			if c.verifyFail {
				return errAsked
			}
			return nil
		}
	}
	return nil
}

// poolOf returns a pool of roots with the given names.
func poolOf(names [][]byte) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, name := range names {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: name, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		pool.AddCert(certificate)
	}
	return pool, nil
}

// loadChain reads the certificates of a file in PEM.
func loadChain(name string) (*tls.Certificate, error) {
	rest, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	chain := &tls.Certificate{}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return chain, nil
		}
		if block.Type == "CERTIFICATE" {
			chain.Certificate = append(chain.Certificate, block.Bytes)
		}
	}
}
