// Command bogo lets BoringSSL's test runner (BoGo) test package native: the runner starts it once for each test, and plays the
// client. docs/native.md tells how to run it and what came of it.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// exitUnimplemented tells the runner that the test asks for something that this engine or this shim does not have.
const exitUnimplemented = 89

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-is-handshaker-supported" {
		fmt.Println("No")
		return
	}
	flags, err := parseFlags(os.Args[1:])
	if err == nil {
		err = run(flags)
	}
	if errors.Is(err, errUnimplemented) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUnimplemented)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errUnimplemented = errors.New("bogo: unimplemented")

// run makes the connections of a test, which share one cache.
func run(f *flags) error {
	cache, err := reprise.New(reprise.Options{Context: []byte("bogo")})
	if err != nil {
		return err
	}
	for i := range f.resumeCount + 1 {
		phase := &f.initial
		if i > 0 {
			phase = &f.resume
		}
		if err := connect(f, phase, cache, i > 0); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

// connect makes one connection to the runner, which is the client all the same.
func connect(f *flags, p *phase, cache *reprise.Cache, isResumption bool) error {
	config, err := p.config()
	if err != nil {
		return err
	}
	host := "127.0.0.1"
	if f.ipv6 {
		host = "::1"
	}
	raw, err := net.Dial("tcp", net.JoinHostPort(host, f.port))
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := binary.Write(raw, binary.LittleEndian, f.shimID); err != nil {
		return err
	}
	conn := native.Server(raw, config, cache)
	if err := serve(conn, f, p, isResumption); err != nil {
		linger(raw)
		return err
	}
	return conn.Close()
}

// serve checks the handshake, and echoes what comes, inverted, until the end of the stream.
func serve(conn *native.Conn, f *flags, p *phase, isResumption bool) error {
	if err := conn.Handshake(); err != nil {
		if errors.Is(err, native.ErrVersionTLS13) {
			return errUnimplemented
		}
		return err
	}
	if err := p.check(conn, isResumption); err != nil {
		return err
	}
	if f.shimWritesFirst {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
	}
	if f.shimShutsDown {
		return conn.CloseWrite()
	}
	buffer := make([]byte, 1<<14)
	for {
		n, err := conn.Read(buffer)
		for i := range buffer[:n] {
			buffer[i] ^= 0xff
		}
		if n > 0 {
			if _, err := conn.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			switch {
			case !f.checkCloseNotify:
				return nil
			case !conn.CloseNotifyReceived():
				return io.ErrUnexpectedEOF
			default:
				return conn.CloseWrite()
			}
		}
		if errors.Is(err, io.ErrUnexpectedEOF) && !f.checkCloseNotify {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// linger lets the runner read the alert: a reset would take it away.
func linger(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, raw)
	}
}

// A phase has the flags that may differ between the first connection and the later ones.
type phase struct {
	certFile, keyFile string
	minVersion        uint16
	maxVersion        uint16
	noTLS12, noTLS13  bool
	noTicket          bool
	clientAuth        tls.ClientAuthType
	trustCert         string
	alpn              string
	declineALPN       bool
	groups            []tls.CurveID
	ocspResponse      []byte
	scts              [][]byte
	signingPrefs      []tls.SignatureScheme
	verifyFail        bool

	expectSessionMiss     bool
	expectSessionID       bool
	expectNoSessionID     bool
	expectEMS             bool
	expectServerName      string
	expectGroup           tls.CurveID
	expectALPN            string
	exportLength          int
	exportLabel           string
	exportContext         string
	useExportContext      bool
	expectPeerCertificate bool
}

func (p *phase) config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:             p.minVersion,
		MaxVersion:             p.maxVersion,
		SessionTicketsDisabled: p.noTicket,
		ClientAuth:             p.clientAuth,
		CurvePreferences:       p.groups,
	}
	if p.noTLS12 {
		return nil, errUnimplemented
	}
	if p.noTLS13 {
		config.MaxVersion = tls.VersionTLS12
	}
	if p.alpn != "" && !p.declineALPN {
		config.NextProtos = []string{p.alpn}
	}
	if p.certFile == "" {
		return nil, errUnimplemented
	}
	certificate, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return nil, err
	}
	certificate.OCSPStaple = p.ocspResponse
	certificate.SignedCertificateTimestamps = p.scts
	certificate.SupportedSignatureAlgorithms = p.signingPrefs
	config.Certificates = []tls.Certificate{certificate}
	if p.trustCert != "" {
		pem, err := os.ReadFile(p.trustCert)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(pem)
	}
	if p.verifyFail {
		config.VerifyConnection = func(tls.ConnectionState) error { return errors.New("bogo: asked to fail") }
	}
	return config, nil
}

// check holds the connection to what the runner expects.
func (p *phase) check(conn *native.Conn, isResumption bool) error {
	state := conn.ConnectionState()
	switch {
	case isResumption && state.DidResume == p.expectSessionMiss:
		return fmt.Errorf("bogo: resumed: %v", state.DidResume)
	case p.expectServerName != "" && state.ServerName != p.expectServerName:
		return fmt.Errorf("bogo: server name %q", state.ServerName)
	case p.expectGroup != 0 && state.CurveID != p.expectGroup:
		return fmt.Errorf("bogo: group %v", state.CurveID)
	case p.expectALPN != "" && state.NegotiatedProtocol != p.expectALPN:
		return fmt.Errorf("bogo: protocol %q", state.NegotiatedProtocol)
	case p.expectPeerCertificate && len(state.PeerCertificates) == 0:
		return errors.New("bogo: no client certificate")
	}
	if p.expectEMS {
		if _, err := conn.ExportKeyingMaterial("ems", nil, 1); err != nil {
			return err
		}
	}
	if p.exportLength > 0 {
		return p.export(conn)
	}
	return nil
}

// export sends keying material to the runner.
func (p *phase) export(conn *native.Conn) error {
	var context []byte
	if p.useExportContext {
		context = []byte(p.exportContext)
	}
	material, err := conn.ExportKeyingMaterial(p.exportLabel, context, p.exportLength)
	if err != nil {
		return err
	}
	_, err = conn.Write(material)
	return err
}

// flags are those of a test.
type flags struct {
	port                           string
	shimID                         uint64
	ipv6                           bool
	resumeCount                    int
	shimWritesFirst, shimShutsDown bool
	checkCloseNotify               bool
	initial, resume                phase
}
