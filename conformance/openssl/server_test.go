package openssl_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// A server is one of the servers of a scenario: a cache with the three callbacks, and a listener.
type server struct {
	*performer
	name     string
	settings map[string]string
	cache    *reprise.Cache
	config   atomic.Pointer[tls.Config]
	inner    *innerListener
	listener *listen.Listener
	accepted chan net.Conn
	failed   chan error
	closed   bool
}

// newServer makes a server with the settings of a step.
func newServer(p *performer, s step) (*server, error) {
	cache, err := reprise.New(reprise.Options{
		Keys:    p.keys,
		Context: []byte("ctxA"),
		Now:     p.now,
		Logger:  slog.New(slog.NewTextHandler(p.t.Output(), nil)),
	})
	if err != nil {
		return nil, err
	}
	r := &server{
		performer: p,
		name:      s.word(1),
		settings:  map[string]string{"version": "1.2", "callbacks": "new,remove,get"},
		cache:     cache,
		accepted:  make(chan net.Conn),
		failed:    make(chan error, 16),
	}
	if err := r.set(s); err != nil {
		return nil, err
	}
	return r, r.listen()
}

func (r *server) listen() error {
	inner, err := net.Listen("unix", r.socketPath())
	if err != nil {
		return err
	}
	r.inner = &innerListener{Listener: inner}
	config := r.config.Load().Clone()
	config.ClientAuth, config.SessionTicketsDisabled = tls.NoClientCert, false // those of each connection are set below
	config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS13
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.config.Load(), nil }
	r.listener, err = listen.New(r.inner, config, r.cache, listen.Options{
		Engine: r.engine,
		Logger: slog.New(failureLog{r.failed}),
	})
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.accepted <- conn
		}
	}()
	r.print("address %s", inner.Addr())
	return nil
}

// An innerListener notes the connection that it accepted last.
type innerListener struct {
	net.Listener
	last atomic.Pointer[net.Conn]
}

func (l *innerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.last.Store(&conn)
	}
	return conn, err
}

// A failureLog is a log handler that passes on that handshakes have failed.
type failureLog struct{ failed chan<- error }

func (l failureLog) Enabled(context.Context, slog.Level) bool { return true }

func (l failureLog) Handle(_ context.Context, record slog.Record) error {
	l.failed <- errors.New(record.Message)
	return nil
}

func (l failureLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l failureLog) WithGroup(string) slog.Handler      { return l }

// Settings.

var versions = map[string][2]uint16{
	"1.2":     {tls.VersionTLS12, tls.VersionTLS12},
	"1.3":     {tls.VersionTLS13, tls.VersionTLS13},
	"1.2-1.3": {tls.VersionTLS12, tls.VersionTLS13},
}

var modes = map[string]reprise.Mode{
	"OFF":                reprise.ModeOff,
	"CLIENT":             reprise.ModeClient,
	"SERVER":             reprise.ModeServer,
	"BOTH":               reprise.ModeBoth,
	"NO_AUTO_CLEAR":      reprise.ModeNoAutoClear,
	"NO_INTERNAL":        reprise.ModeNoInternal,
	"NO_INTERNAL_LOOKUP": reprise.ModeNoInternalLookup,
	"NO_INTERNAL_STORE":  reprise.ModeNoInternalStore,
	"UPDATE_TIME":        reprise.ModeUpdateTime,
}

// suites are the TLS 1.2 suites of the scenarios, by the names that OpenSSL has for them.
var suites = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
}

var groups = map[string]tls.CurveID{"P-256": tls.CurveP256, "X25519": tls.X25519}

// set changes settings. All are set again, so that it does not matter which have changed.
func (r *server) set(s step) error {
	maps.Copy(r.settings, s.settings)
	if err := r.check(); err != nil {
		return err
	}
	if err := r.setCache(s); err != nil {
		return err
	}
	r.setCallbacks()
	r.config.Store(r.newConfig())
	return nil
}

// check refuses what can't be played.
func (r *server) check() error {
	if r.engine == listen.EngineNative && r.settings["version"] != "1.2" {
		return unplayable("native-tls12-only")
	}
	if r.engine == listen.EngineNative && r.settings["not-resumable"] == "yes" {
		return unplayable("never-resumable")
	}
	if r.settings["suites13"] != "" {
		return unplayable("tls13-suites")
	}
	if r.settings["tickets"] == "0" && r.settings["version"] != "1.3" {
		return unplayable("no-tickets")
	}
	return nil
}

func (r *server) setCache(s step) error {
	for name, value := range s.settings {
		n, _ := strconv.Atoi(value)
		switch name {
		case "mode":
			var mode reprise.Mode
			for bit := range strings.SplitSeq(value, "|") {
				mode |= modes[bit]
			}
			r.cache.SetMode(mode)
		case "size":
			r.cache.SetSize(n)
		case "timeout":
			r.cache.SetTimeout(time.Duration(n) * time.Second)
		case "context":
			if err := r.cache.SetContext([]byte(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// newConfig makes the configuration of connections from now on.
func (r *server) newConfig() *tls.Config {
	version := versions[r.settings["version"]]
	config := &tls.Config{
		Certificates: r.certificates,
		MinVersion:   version[0],
		MaxVersion:   version[1],
		Time:         r.now,
		// To crypto/tls, a server without tickets and one without sessions are one thing. To native, they are not.
		SessionTicketsDisabled: r.settings["tickets"] == "0" || r.settings["not-resumable"] == "yes" ||
			r.engine == listen.EngineNative && r.settings["no-ticket"] == "yes",
	}
	if suite, ok := suites[r.settings["suites"]]; ok {
		config.CipherSuites = []uint16{suite}
	}
	if group, ok := groups[r.settings["groups"]]; ok {
		config.CurvePreferences = []tls.CurveID{group}
	}
	if r.settings["verify"] == "peer" {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if protocol := r.settings["alpn"]; protocol != "" {
		config.NextProtos = strings.Split(protocol, ",")
	}
	return config
}

// Callbacks.

func (r *server) setCallbacks() {
	r.cache.SetNewCallback(nil)
	r.cache.SetRemoveCallback(nil)
	r.cache.SetGetCallback(nil)
	r.cache.SetGenerateID(nil)
	for name := range strings.SplitSeq(r.settings["callbacks"], ",") {
		switch name {
		case "new":
			r.cache.SetNewCallback(r.newSession)
		case "remove":
			r.cache.SetRemoveCallback(r.removeSession)
		case "get":
			r.cache.SetGetCallback(r.getSession)
		}
	}
	if how := r.settings["generate"]; how != "" && how != "default" {
		r.cache.SetGenerateID(r.generateID)
	}
}

func (r *server) newSession(c *reprise.Cache, s *reprise.Session) (keep bool) {
	how := r.settings["new"]
	keep = how != "refuse" && how != "store"
	ret := 0
	if keep {
		ret = 1
	}
	stats := c.Stats()
	r.event("new sid=%s len=%d ret=%d at=%s already_in_cache=%t number=%d accept_good=%d reused=%t", nameOf(s.ID()), s.ID().Len(), ret,
		r.doing(), c.Lookup(s.ID()) != nil, stats.Number, stats.AcceptGood, s.Lineage().Generation > 0)
	r.objects.Store(s.ID(), s)
	if how != "refuse" {
		r.store.Store(s.ID(), s)
	}
	switch how {
	case "remove":
		c.Remove(s)
	case "flush":
		c.Flush(time.Time{})
	}
	return keep
}

func (r *server) removeSession(c *reprise.Cache, s *reprise.Session, why reprise.Removal, resident bool) {
	_, inStore := r.store.Load(s.ID())
	stats := c.Stats()
	r.event("remove sid=%s len=%d at=%s number=%d in_store=%t cache_full=%d why=%s resident=%t", nameOf(s.ID()), s.ID().Len(),
		r.doing(), stats.Number, inStore, stats.CacheFull, strings.ReplaceAll(why.String(), " ", "_"), resident)
	if r.settings["remove"] != "keep" {
		r.store.Delete(s.ID())
	}
}

func (r *server) getSession(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
	s := r.found(id)
	ret := "session"
	if s == nil {
		ret = "null"
	}
	r.event("get sid=%s len=%d ret=%s at=%s", nameOf(id), id.Len(), ret, r.doing())
	switch how := r.settings["get"]; {
	case s == nil:
	case how == "remove":
		r.cache.Remove(s)
	case how == "add":
		return s, r.cache.Add(s)
	}
	return s, nil
}

// found returns what get returns: the session that was asked for, or the one that it was told to return.
func (r *server) found(id reprise.SessionID) *reprise.Session {
	how, renamed := strings.CutSuffix(r.settings["get"], ":renamed")
	if how == "null" {
		return nil
	}
	wanted := id
	if strings.HasPrefix(how, "#") {
		var err error
		if wanted, err = idOf(how); err != nil {
			return nil
		}
	}
	v, ok := r.store.Load(wanted)
	if !ok {
		return nil
	}
	s := v.(*reprise.Session)
	if renamed {
		return withID(s, id)
	}
	return s
}

// withID returns a copy of a session under another ID.
func withID(s *reprise.Session, id reprise.SessionID) *reprise.Session {
	renamed, err := reprise.NewSession(reprise.SessionParams{
		ID:                   id,
		Version:              s.Version(),
		CipherSuite:          s.CipherSuite(),
		Group:                s.Group(),
		Secret:               s.Secret(),
		ExtendedMasterSecret: s.ExtendedMasterSecret(),
		Created:              s.Created(),
		Timeout:              s.Timeout(),
		Lineage:              s.Lineage(),
		Context:              s.Context(),
		Scope:                s.Scope(),
		ServerName:           s.ServerName(),
		ALPN:                 s.ALPN(),
		TicketAgeAdd:         s.TicketAgeAdd(),
	})
	if err != nil {
		panic(err)
	}
	return renamed
}

func (r *server) generateID(*reprise.Cache) (reprise.SessionID, error) {
	b := make([]byte, reprise.MaxSessionIDLength)
	switch how := r.settings["generate"]; how {
	case "fail":
		return reprise.SessionID{}, errors.New("no ID")
	case "same":
		for i := range b {
			b[i] = 7
		}
	default:
		n, err := strconv.Atoi(how)
		if err != nil {
			return reprise.SessionID{}, err
		}
		b = b[:n]
		rand.Read(b)
	}
	if len(b) > 0 {
		r.event("generate_id len_in=%d at=%s", reprise.MaxSessionIDLength, r.doing())
	}
	return reprise.MakeSessionID(b)
}

func (r *server) printStats() {
	s := r.cache.Stats()
	r.print("= stats %s number=%d accept=%d accept_good=%d accept_renegotiate=0 hits=%d cb_hits=%d misses=%d timeouts=%d cache_full=%d",
		r.name, s.Number, s.Accept, s.AcceptGood, s.Hits, s.CallbackHits, s.Misses, s.Timeouts, s.CacheFull)
}

func (r *server) close() {
	if r.listener != nil {
		r.listener.Close()
	}
	r.cache.SetRemoveCallback(nil)
	r.cache.Close()
}

// session returns the session that was announced under the ID that #HEX means.
func (p *performer) session(name string) (*reprise.Session, error) {
	id, err := idOf(name)
	if err != nil {
		return nil, err
	}
	v, ok := p.objects.Load(id)
	if !ok {
		return nil, fmt.Errorf("no session %s was announced", name)
	}
	return v.(*reprise.Session), nil
}
