package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A client makes the connections of one case with one server.
type client struct {
	server      *serverProcess
	benchCase   benchCase
	sessions    int
	configs     []*tls.Config // used in turn; each has one session, or none in full handshakes
	concurrency int
	libssl      *libsslClient // makes the connections, if not nil

	firstByte func(time.Duration) // is told the time from connecting to the first byte, if not nil
}

// newClient makes a client. For a case of resumption it has so many sessions, once its first slice is done.
func (b *benchmark) newClient(p *serverProcess, c benchCase) (n *client, err error) {
	roots := x509.NewCertPool()
	roots.AddCert(b.certificates.root)
	n = &client{server: p, benchCase: c, concurrency: b.concurrency, sessions: b.sessions}
	if c.engines {
		n.libssl, err = b.startLibsslClient(p, c)
		return n, err
	}
	for range b.sessions {
		config := &tls.Config{
			ServerName:         serverName,
			RootCAs:            roots,
			MinVersion:         c.version,
			MaxVersion:         c.version,
			CurvePreferences:   []tls.CurveID{c.group},
			ClientSessionCache: noSessions{}, // without a cache, the client would accept no ticket
		}
		if c.resumed {
			config.ClientSessionCache = &oneSession{keepsFirst: p.kind.bypass}
		}
		if c.mutual {
			config.Certificates = []tls.Certificate{b.certificates.client}
		}
		n.configs = append(n.configs, config)
	}
	return n, nil
}

func (n *client) close() {
	if n.libssl != nil {
		n.libssl.close() //nolint:errcheck // what went wrong, it has told
	}
}

// warmUp makes a full connection for each session.
func (n *client) warmUp() error {
	return n.connect(n.sessions, false)
}

// connect makes so many connections, and checks that all were resumed, or none.
func (n *client) connect(connections int, resumed bool) error {
	n.server.connections += connections
	if n.libssl != nil {
		if err := n.libssl.connect(connections, resumed); err != nil {
			return fmt.Errorf("connection to server %s: %w", n.server.kind.name, err)
		}
		return nil
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	failures := make(chan error, n.concurrency)
	for range n.concurrency {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= connections {
					return
				}
				if err := n.exchange(n.configs[i%len(n.configs)], resumed); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return fmt.Errorf("connection to server %s: %w", n.server.kind.name, err)
	}
	return nil
}

// exchange makes one connection: a byte there and back, close_notify there and back.
func (n *client) exchange(config *tls.Config, resumed bool) error {
	begun := time.Now()
	conn, err := tls.Dial("tcp", n.server.address, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := []byte{'x'}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if n.firstByte != nil {
		n.firstByte(time.Since(begun))
	}
	if err := n.check(conn.ConnectionState(), resumed); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if _, err := conn.Read(b); !errors.Is(err, io.EOF) {
		return fmt.Errorf("end of the connection: %w", err)
	}
	return nil
}

func (n *client) check(cs tls.ConnectionState, resumed bool) error {
	c := n.benchCase
	if cs.DidResume != resumed || cs.Version != c.version {
		return fmt.Errorf("%s, resumed: %v; want %s, resumed: %v",
			tls.VersionName(cs.Version), cs.DidResume, tls.VersionName(c.version), resumed)
	}
	if cs.CurveID != c.group {
		return fmt.Errorf("key exchange in group %v, want %v", cs.CurveID, c.group)
	}
	return nil
}

// noSessions is a session cache of clients that offer no session, and accept tickets.
type noSessions struct{}

func (noSessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noSessions) Put(string, *tls.ClientSessionState)        {}

// oneSession keeps the last session that it gets, or the first: that one is in the store for certain, and not still on its
// way.
type oneSession struct {
	session    atomic.Pointer[tls.ClientSessionState]
	keepsFirst bool
}

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	session := o.session.Load()
	return session, session != nil
}

func (o *oneSession) Put(_ string, session *tls.ClientSessionState) {
	if !o.session.CompareAndSwap(nil, session) && !o.keepsFirst {
		o.session.Store(session)
	}
}
