// Package stdtls binds a session cache to crypto/tls: servers that use a [tls.Config] resume from the cache, with
// 32-byte tickets, in TLS 1.2 and 1.3. One call does it:
//
//	err := stdtls.Attach(config, cache)
//
// crypto/tls does the handshakes as before; only what it would put into a ticket lies in the cache instead, and the
// ticket is the session's ID.
//
// # What Attach cannot know
//
// crypto/tls has no hook for the end of a handshake or of a connection. A TLS 1.3 session is made before the client
// has proved anything, so such sessions lie in a bounded part of the cache, and no connection's end removes its session.
// A handshake whose client takes no session is not counted, in AcceptGood or in Outcomes. And the hooks see one PSK identity of a
// TLS 1.3 client at a time, when crypto/tls has computed its keys: a store could be asked before, and for all of them at once.
// Package listen closes these gaps, for servers that can take their connections from a [net.Listener].
//
// crypto/tls asks for a session before it has verified that the client knows its secret (the PSK binder of TLS 1.3, the
// Finished of TLS 1.2). A session for single use is therefore taken by whoever offers its ID, and IDs travel in clear:
// an observer can spoil the resumption of others, though not use it. So can it make config.VerifyPeerCertificate be
// called with the chain of a client that is not there; VerifyConnection is called when the client has proved itself in
// TLS 1.3, and before its Finished in TLS 1.2.
//
// # Limits of crypto/tls
//
// A session with extended master secret and a client certificate that is offered in a hello without that extension is declined in
// favour of a full handshake; RFC 7627, section 5.3, would have the handshake aborted, as it is without a client certificate.
//
// One ticket for each TLS 1.3 connection; no TLS 1.2 session IDs, so that clients without tickets never resume; no
// early data over TCP; TLS 1.2 tickets have no lifetime, which some clients (Java, wolfSSL) do not accept.
package stdtls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync"

	"github.com/reprise-tls/reprise"
)

// Attach makes servers that use config resume their clients from cache. It sets config.GetConfigForClient to a
// function that calls the one that was there, once for each connection, and answers with a configuration for that
// connection alone.
//
// Call it when config is complete, certificates included, and before it is used. Clones of config are attached too, but
// changes made to a clone have no effect: a server that is given the names of certificate files, as
// [net/http.Server.ListenAndServeTLS] can be, puts them into a clone. Session ticket keys have no effect either.
//
// A configuration that the previous GetConfigForClient returns is served in the same way. If it is not safe, having
// session hooks of its own, or asking for client certificates while the cache has no session ID context, its
// connections go on without sessions, which is logged once.
//
// Attach returns an error, and leaves config alone, if sessions would not be safe or could never be made: config has
// session hooks or was attached before, session tickets are disabled, there is no certificate, or client
// certificates are asked for and the cache has no session ID context ([reprise.ErrContextRequired]).
func Attach(config *tls.Config, cache *reprise.Cache) error {
	if config == nil || cache == nil {
		return errors.New("stdtls: Attach needs a tls.Config and a reprise.Cache")
	}
	if err := attachable(config, cache); err != nil {
		return fmt.Errorf("stdtls: %w", err)
	}
	if !isConvertible() {
		cache.Logger().Warn("stdtls: the encoding of sessions by this crypto/tls is not known; they resume in crypto/tls alone")
	}
	a := &attachment{cache: cache, config: config, choose: config.GetConfigForClient}
	config.GetConfigForClient = a.configForClient
	return nil
}

func attachable(config *tls.Config, cache *reprise.Cache) error {
	switch {
	case isAttached(config):
		return errors.New("the tls.Config is attached to a session cache already")
	case hasHooks(config):
		return errForeignHooks
	case config.SessionTicketsDisabled:
		return errors.New("the tls.Config has SessionTicketsDisabled set, so that no session would ever be made")
	case len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil:
		return errors.New("the tls.Config has no certificate; set Certificates or GetCertificate before it is attached")
	case config.ClientAuth != tls.NoClientCert && len(cache.Context()) == 0:
		return reprise.ErrContextRequired
	}
	return nil
}

// errForeignHooks: crypto/tls would use hooks that are not ours, or we would replace them.
var errForeignHooks = errors.New("the tls.Config has session hooks of its own (WrapSession, UnwrapSession)")

func hasHooks(config *tls.Config) bool {
	return config.WrapSession != nil || config.UnwrapSession != nil
}

// isAttached tells whether config, or the one that it was cloned from, was attached. All functions that Attach installs
// have the same code.
func isAttached(config *tls.Config) bool {
	installed := (*attachment)(nil).configForClient
	return config.GetConfigForClient != nil &&
		reflect.ValueOf(config.GetConfigForClient).Pointer() == reflect.ValueOf(installed).Pointer()
}

// A Tracker is a connection below TLS that follows its server connection from the handshake to the end. If the
// [net.Conn] given to [tls.Server] is a Tracker, Track is called once the ClientHello is read, and it is the Tracker
// that must then call [reprise.Connection.Complete] when the handshake is complete, and [reprise.Connection.End], or
// [reprise.Connection.Release] when it has failed, with which lookups end then: not with the context of the handshake.
// Otherwise the binding calls Complete itself, earlier and knowing less, and nobody calls End.
//
// Track is not called for a connection that goes on without sessions.
type Tracker interface {
	net.Conn
	Track(*reprise.Connection)
}

// A Chooser is a connection below TLS that may take a handshake away from crypto/tls. If the [net.Conn] given to
// [tls.Server] is a Chooser, Choose is called once, when the ClientHello is read and the configuration for it is chosen. If it
// returns an error, the handshake ends with it; nothing was written by then but what crypto/tls now writes, an
// alert.
type Chooser interface {
	net.Conn
	Choose(hello *tls.ClientHelloInfo, config *tls.Config) error
}

// A Taker is a connection below TLS that may keep sessions for single use from crypto/tls, which takes them when they are offered,
// before the client has proved anything. If the [net.Conn] given to [tls.Server] is a Taker, and MayTake returns false, a session for
// single use is declined as [reprise.Refused] instead, and stays.
type Taker interface {
	net.Conn
	MayTake(s *reprise.Session) bool
}

// An attachment is what Attach installs: it makes the configuration of each connection
// (docs/decisions/0005-one-configuration-per-connection.md).
type attachment struct {
	cache  *reprise.Cache
	config *tls.Config
	choose func(*tls.ClientHelloInfo) (*tls.Config, error) // the application's; may be nil
	warned sync.Once
}

// configForClient is the GetConfigForClient of an attached configuration.
func (a *attachment) configForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	chosen, err := a.chosen(hello)
	if err != nil {
		return nil, err
	}
	if chooser, ok := hello.Conn.(Chooser); ok {
		if err := chooser.Choose(hello, chosen); err != nil {
			return nil, err
		}
	}
	if chosen.SessionTicketsDisabled {
		return chosen, nil
	}
	config := chosen.Clone()
	config.GetConfigForClient = nil
	if err := a.bind(config, hello); err != nil {
		a.warn(err)
		config.WrapSession, config.UnwrapSession = nil, nil
		config.SessionTicketsDisabled = true
	}
	return config, nil
}

// chosen returns the configuration that would be used if none were attached.
func (a *attachment) chosen(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if a.choose == nil {
		return a.config, nil
	}
	config, err := a.choose(hello)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return a.config, nil
	}
	return config, nil
}

// bind begins a connection in the cache and sets the hooks of its configuration.
func (a *attachment) bind(config *tls.Config, hello *tls.ClientHelloInfo) error {
	if hasHooks(config) {
		return errForeignHooks
	}
	tracker, isTracked := hello.Conn.(Tracker)
	ctx := hello.Context()
	if isTracked {
		ctx = context.WithoutCancel(ctx) // to wait for its end, too, costs more than all else about a lookup's wait
	}
	connection, err := a.cache.Accept(ctx, connectionInfo(config, hello))
	if err != nil {
		return err
	}
	taker, _ := hello.Conn.(Taker)
	h := &handshake{
		connection:         connection,
		taker:              taker,
		offeredSuites:      hello.CipherSuites,
		enabledSuites:      config.CipherSuites,
		extendedMaster:     slices.Contains(hello.Extensions, extensionExtendedMasterSecret),
		asksForCertificate: config.ClientAuth != tls.NoClientCert,
		isQUIC:             isQUIC(hello),
		isTracked:          isTracked,
	}
	config.WrapSession, config.UnwrapSession = h.wrap, h.unwrap
	if isTracked {
		tracker.Track(connection)
	}
	return nil
}

// warn logs once why connections go on without sessions. A closed cache is nothing to warn of.
func (a *attachment) warn(err error) {
	if errors.Is(err, reprise.ErrClosed) {
		return
	}
	a.warned.Do(func() {
		a.cache.Logger().Warn("stdtls: a tls.Config is not safe for sessions; its connections go on without", "error", err)
	})
}

// Extensions of the ClientHello.
const (
	extensionExtendedMasterSecret    = 23 // RFC 7627
	extensionQUICTransportParameters = 57 // RFC 9001, section 8.2
)

// isQUIC tells whether the handshake is QUIC's. crypto/tls refuses the extension in any other, and QUIC without it.
func isQUIC(hello *tls.ClientHelloInfo) bool {
	return slices.Contains(hello.Extensions, extensionQUICTransportParameters)
}

func connectionInfo(config *tls.Config, hello *tls.ClientHelloInfo) reprise.ConnectionInfo {
	info := reprise.ConnectionInfo{
		ServerName:            hello.ServerName,
		ClientAuth:            config.ClientAuth,
		ClientCAs:             config.ClientCAs,
		VerifyPeerCertificate: config.VerifyPeerCertificate,
		CertificateTime:       config.Time,
	}
	if isQUIC(hello) {
		info.Transport = reprise.QUIC
	}
	if hello.Conn != nil { // nil in QUIC
		info.RemoteAddr = hello.Conn.RemoteAddr()
	}
	return info
}
