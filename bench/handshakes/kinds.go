package main

import (
	"crypto/tls"
	"net"
	"slices"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/stdtls"
)

// A kind is one of the servers that are compared.
type kind struct {
	name  string
	bind  binding
	store storeKind
	// bypass makes every resumption read the store, as on a node that has not seen the session, or after a restart.
	bypass bool
	// bareGets makes every resumption wait for a bare GET, and the store is not read.
	bareGets bool
	// sessionID makes clients of libssl resume by session ID, and not by ticket.
	sessionID bool
	// writesLast makes the server use WriteLast of package native.
	writesLast bool
}

// How a server resumes.
type binding int

const (
	stateless    binding = iota // tickets of crypto/tls
	attached                    // stdtls.Attach alone
	bareHooks                   // a prototype
	withListener                // package listen

	withNativeListener // package listen with the engine of package native
	bareNative         // package native alone
	nginxProgram
	libsslProgram

	plainGo // no TLS, but as many reads and writes
	plainC
)

type storeKind int

const (
	noStore storeKind = iota
	embeddedStore
	redisStore
)

// kinds are all servers; the others are compared with the first.
var kinds = []kind{
	{name: "crypto/tls"},
	{name: "crypto/tls again"},
	{name: "attach", bind: attached},
	{name: "listen", bind: withListener},
	{name: "listen, embedded", bind: withListener, store: embeddedStore},
	{name: "listen, Redis", bind: withListener, store: redisStore},
	{name: "prototype", bind: bareHooks},
	{name: "prototype, SET", bind: bareHooks, store: redisStore},
	{name: "listen, embedded read", bind: withListener, store: embeddedStore, bypass: true},
	{name: "listen, Redis read", bind: withListener, store: redisStore, bypass: true},
}

// floorKind is what [measureLookups] also compares with.
var floorKind = kind{name: "listen, bare GET", bind: withListener, store: redisStore, bypass: true, bareGets: true}

func kindOf(name string) (kind, bool) {
	for _, k := range slices.Concat(kinds, engineKinds, []kind{floorKind}) {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

// wantsGets returns how often the server reads the store in n connections.
func (k kind) wantsGets(c benchCase, n int) int {
	if k.bypass && c.resumed && !k.bareGets {
		return n
	}
	return 0
}

// newCache makes the server's cache. An internal cache that resumptions are served from is full, as it is on a server that
// has run for a while: each new session evicts another.
func (k kind) newCache(keys *reprise.FleetKeys) (*reprise.Cache, error) {
	cache, err := reprise.New(reprise.Options{
		Keys:                 keys,
		Context:              []byte("bench"),
		LookupTimeout:        5 * time.Second, // however busy the machine is, a session that is there is found
		UnconfirmedPerSource: -1,              // all clients have one address
	})
	if err != nil {
		return nil, err
	}
	switch {
	case k.bypass:
		cache.SetMode(reprise.ModeServer | reprise.ModeNoInternalLookup)
		err = fill(cache)
	case k.bind != attached: // with Attach alone, sessions of new clients don't enter a full cache
		err = fill(cache)
	}
	return cache, err
}

// listen makes the server's listener. cache is nil for crypto/tls.
func (k kind) listen(config *tls.Config, cache *reprise.Cache) (net.Listener, error) {
	const address = "127.0.0.1:0"
	switch k.bind {
	case withListener:
		return listen.Listen("tcp", address, config, cache, listen.Options{Engine: listen.EngineStandard})
	case withNativeListener:
		return listen.Listen("tcp", address, config, cache, listen.Options{Engine: listen.EngineAuto})
	case bareNative:
		inner, err := net.Listen("tcp", address)
		return &nativeListener{inner, config, cache}, err
	case attached:
		if err := stdtls.Attach(config, cache); err != nil {
			return nil, err
		}
	case plainGo:
		return listen.Socket("tcp", address)
	default:
	}
	return tls.Listen("tcp", address, config)
}

// A nativeListener is to package native what the listener of [tls.NewListener] is to crypto/tls.
type nativeListener struct {
	net.Listener
	config *tls.Config
	cache  *reprise.Cache
}

func (l *nativeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return native.Server(conn, l.config, l.cache), nil
}
