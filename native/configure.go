package native

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/schedule"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// checkConfig refuses a configuration that has what this engine can't honour. What it ignores, the documentation tells.
func checkConfig(config *tls.Config) error {
	switch {
	case fips140.Enabled():
		return errors.New("native: not available in FIPS 140-3 mode; crypto/tls is")
	case config.WrapSession != nil || config.UnwrapSession != nil:
		return errors.New("native: the tls.Config has session hooks of its own (WrapSession, UnwrapSession)")
	case config.Rand != nil:
		return errors.New("native: the tls.Config has a source of randomness of its own (Rand)")
	case config.MaxVersion != 0 && config.MaxVersion < tls.VersionTLS12, config.MinVersion > tls.VersionTLS12:
		return errors.New("native: the tls.Config does not allow TLS 1.2")
	}
	return nil
}

// Peek is [Negotiate] for the ClientHello with which read, what a client has sent so far, begins. n is nil if this engine can't
// serve the client. ok is false if it can't be told here: if there is no well-formed ClientHello, as a whole and in one record, or if
// config has callbacks for a ClientHelloInfo, which only crypto/tls can make.
func Peek(read []byte, conn net.Conn, config *tls.Config) (n *Negotiation, ok bool) {
	if !CanPeek(config) {
		return nil, false
	}
	var records record.Reader
	records.Begin(read)
	kind, content, err := records.Next()
	if err != nil || kind != record.Handshake {
		return nil, false
	}
	m, length, err := nextMessage(content, expectClientHello{})
	if err != nil || length == 0 || length < len(content) || !m.is(wire.KindClientHello) {
		return nil, false
	}
	if maxVersion(config) >= tls.VersionTLS13 && wire.OffersVersion(m.body, tls.VersionTLS13) {
		return nil, true // nearly every client, so that no more is done for them
	}
	hello, raw, err := readHello(m, nil)
	if err != nil {
		return nil, false
	}
	if hello.Version != tls.VersionTLS12 {
		return nil, true // RFC 8446, section 4.2.1, has it be TLS 1.2 in any case; crypto/tls makes of others what it does
	}
	if n, err = Negotiate(helloInfo(hello, conn), config); err != nil || checkHello(hello) != nil {
		return nil, true // for crypto/tls to tell the client
	}
	n.hello, n.raw = hello, raw
	return n, true
}

// CanMake tells whether this engine, with config, may have made a session, as opposed to crypto/tls.
func CanMake(s *reprise.Session, config *tls.Config) bool {
	return s.Version() == tls.VersionTLS12 && schedule.SuiteByID(s.CipherSuite()) != nil && checkConfig(config) == nil
}

// CanPeek tells whether [Peek] can negotiate for clients with this configuration.
func CanPeek(config *tls.Config) bool {
	return config.GetConfigForClient == nil && config.GetCertificate == nil
}

// negotiate resolves the configuration for a hello, and negotiates. The callbacks of the configuration get a
// ClientHelloInfo of crypto/tls.
func (e *engine) negotiate(hello *wire.ClientHello, raw []byte) (n *Negotiation, err error) {
	if CanPeek(e.config) {
		return Negotiate(helloInfo(hello, e.conn), e.config)
	}
	return e.negotiateWithCallbacks(raw)
}

func (e *engine) negotiateWithCallbacks(raw []byte) (n *Negotiation, err error) {
	captured := captureInfo(e.ctx, e.conn, raw, func(info *tls.ClientHelloInfo) {
		var config *tls.Config
		if config, err = resolve(info, e.config); err == nil {
			n, err = Negotiate(info, config)
		}
	})
	if !captured {
		return nil, alert.DecodeError.Errorf("native: crypto/tls does not accept the ClientHello")
	}
	return n, err
}

// resolve returns the configuration that GetConfigForClient chooses.
func resolve(info *tls.ClientHelloInfo, config *tls.Config) (*tls.Config, error) {
	if config.GetConfigForClient == nil {
		return config, nil
	}
	chosen, err := config.GetConfigForClient(info)
	if err != nil {
		return nil, alert.InternalError.Errorf("native: GetConfigForClient: %w", err)
	}
	if chosen == nil {
		return config, nil
	}
	return chosen, nil
}

// helloInfo describes a hello. It has no context, as only crypto/tls can give it one: callbacks of the application
// must not see it.
func helloInfo(hello *wire.ClientHello, conn net.Conn) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		CipherSuites:      hello.CipherSuites,
		ServerName:        hello.ServerName,
		SupportedCurves:   hello.SupportedGroups,
		SupportedPoints:   hello.PointFormats,
		SignatureSchemes:  hello.SignatureAlgorithms,
		SupportedProtos:   hello.ALPN,
		SupportedVersions: hello.OfferedVersions(),
		Extensions:        hello.Extensions,
		Conn:              conn,
	}
}

// restricted returns info with what the configuration leaves of it, so that its SupportsCertificate judges by that.
func restricted(info *tls.ClientHelloInfo, config *tls.Config) *tls.ClientHelloInfo {
	r := *info
	r.CipherSuites = slices.DeleteFunc(slices.Clone(info.CipherSuites), func(id uint16) bool { return !enabled(config, id) })
	r.SupportedCurves = slices.DeleteFunc(slices.Clone(info.SupportedCurves), func(group tls.CurveID) bool {
		return chooseGroup([]tls.CurveID{group}, config) == 0
	})
	r.SupportedVersions = []uint16{tls.VersionTLS12}
	return &r
}

// errCaptured ends the handshake that captureInfo begins.
var errCaptured = errors.New("native: captured")

// captureInfo lets crypto/tls read a ClientHello, and calls f with its description of it, which is the only one that
// has a context. It reports whether crypto/tls accepted the hello so far.
func captureInfo(ctx context.Context, conn net.Conn, hello []byte, f func(*tls.ClientHelloInfo)) (captured bool) {
	var records record.Writer
	input, err := records.Append(nil, record.Handshake, hello)
	if err != nil {
		return false
	}
	probe := tls.Server(&replay{conn, bytes.NewReader(input)}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			captured = true
			info.Conn = conn
			f(info)
			return nil, errCaptured
		},
	})
	_ = probe.HandshakeContext(ctx) // ends in errCaptured
	return captured
}

// A replay is a connection from which a ClientHello can be read once, and to which nothing is written.
type replay struct {
	net.Conn
	input io.Reader
}

func (r *replay) Read(b []byte) (int, error)       { return r.input.Read(b) }
func (r *replay) Write(b []byte) (int, error)      { return len(b), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }
