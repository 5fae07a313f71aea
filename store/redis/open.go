package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// Options are the settings of a [Store]. The zero value is usable.
type Options struct {
	// Prefix begins the keys of all records in Redis. Empty is [DefaultPrefix]. Services that share a server and must
	// not see each other's records need different ones, and users of Redis that may use no other. No prefix may begin with
	// another.
	Prefix string

	// TLS is the configuration for rediss. Its ServerName, if empty, is the host that is connected to. Nil is the default of
	// crypto/tls: the roots of the system.
	TLS *tls.Config

	// Unsafe allows a server on another machine to be reached without TLS or without a password. Who listens there can
	// count and copy records, and who speaks can delete them; records stay sealed.
	Unsafe bool

	// Lazy makes Open return a store though no server can be reached. Calls fail until one can.
	Lazy bool
}

const (
	// connectTimeout is how long a connection may take to be made, TLS and password included.
	connectTimeout = 2 * time.Second
	// silence is how long a server that owes an answer may say nothing before its connection is given up.
	silence = 3 * time.Second
	// refreshInterval is how often the client asks a cluster or sentinels which servers there are.
	refreshInterval = 500 * time.Millisecond
	// bufferSize is the length in bytes of what a connection reads into and of what it writes from: room for a hundred records. With
	// it a connection takes 160 kB in place of the 1.4 MB that are the default.
	bufferSize = 32 << 10
	// ringScale is how many calls may be under way on one connection, as a power of 2; others wait. Gets that come at once are one. Each
	// place takes five objects, which every garbage collection looks at.
	ringScale = 9
	// noticeRingScale is that of connections for puts and notices.
	noticeRingScale = 5
)

// Open connects to the servers of a URL:
//
//	redis://[user[:password]@]host[:port][/database]
//	redis+cluster://[user[:password]@]host[:port],…
//	redis+sentinel://[user[:password]@]host[:port],…/master[/database][?sentinel-user=…&sentinel-password=…]
//
// With rediss in place of redis, all of their connections use TLS. The default port is 6379, that of sentinels 26379. Of a
// cluster and of sentinels some hosts are enough; the others are learned from them, and have to be reached as safely.
//
// Open connects to every primary and tries there what a node does all the time, so that a wrong password, missing rights and a server
// that is too old show at once, and no handshake waits for a connection. No error has a password in it.
func Open(address string, options Options) (*Store, error) {
	t, err := parse(address)
	if err == nil && !options.Unsafe {
		err = t.checkSafe()
	}
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	s := newStore(t, options)
	if t.deployment == sentinel {
		s.sentinels = newSentinels(s)
	}
	err = s.connect()
	if err != nil && !options.Lazy {
		s.Close()
		return nil, fmt.Errorf("redisstore: open %s: %w", t.hosts[0], err)
	}
	if err == nil {
		s.refresh() // so that it is known from the beginning who has what
	}
	s.work.Go(s.watch)
	return s, nil
}

// connect makes the client, if there is none yet, and tries it.
func (s *Store) connect() error {
	ctx, cancel := context.WithTimeout(s.ctx, connectTimeout)
	defer cancel()
	options := s.options
	if s.sentinels != nil {
		primary, err := s.sentinels.await(ctx)
		if err != nil {
			return err
		}
		options = s.optionsOf(primary)
	}
	client, err := newClient(options)
	if err != nil && s.sentinels != nil {
		err = fmt.Errorf("%s: %w", options.InitAddress[0], err)
	}
	if client == nil {
		return err
	}
	if s.target.deployment == cluster && client.Mode() != rueidis.ClientModeCluster {
		client.Close()
		return errors.New("the server is not in a cluster, or the user lacks the right to CLUSTER SLOTS")
	}
	s.client.Store(&connection{options.InitAddress[0], client})
	if err != nil {
		return err
	}
	tries, cancel := context.WithTimeout(s.ctx, connectTimeout)
	defer cancel()
	return s.tryPrimaries(tries)
}

// optionsOf returns the options of a client of one server alone.
func (s *Store) optionsOf(address string) rueidis.ClientOption {
	o := s.options
	o.InitAddress = []string{address}
	o.ForceSingleClient = true
	return o
}

// randomKey returns a key that no record has.
func randomKey() (key reprise.StoreKey) {
	rand.Read(key[:])
	return key
}

// clientOptions returns the options of the client (docs/decisions/0003-redis-client.md).
func clientOptions(t *target, options Options) rueidis.ClientOption {
	o := rueidis.ClientOption{
		InitAddress:       slices.Clone(t.hosts),
		Username:          t.user,
		Password:          t.password,
		SelectDB:          t.database,
		Dialer:            net.Dialer{Timeout: connectTimeout},
		ConnWriteTimeout:  silence,
		ClientSetInfo:     rueidis.DisableClientSetInfo,
		DisableCache:      true, // a record is read once
		DisableRetry:      true, // a dead server shall show at once
		PipelineMultiplex: -1,   // one connection to each server, so that one broken connection is one failed call
		ForceSingleClient: t.deployment == standalone,

		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
		RingScaleEachConn:   ringScale,
	}
	if t.tls {
		o.TLSConfig = options.TLS
		if o.TLSConfig == nil {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if t.deployment == cluster {
		o.ClusterOption.ShardsRefreshInterval = refreshInterval
	}
	return o
}

// dialer returns what connects to servers, until the store is closed. It checks again: a cluster or a sentinel may name others than the URL
// does. wrap, if not nil, is called with the connection below TLS.
func (s *Store) dialer(wrap func(net.Conn) net.Conn, password string) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		if !s.unsafe && !slices.Contains(s.target.hosts, address) {
			if err := s.target.checkServer(address, password); err != nil {
				return nil, err
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		conn, err := dial(ctx, address, d, config, wrap)
		if err != nil {
			return nil, err
		}
		return newGuardedConn(s.ctx, conn), nil
	}
}

func dial(ctx context.Context, address string, d *net.Dialer, config *tls.Config, wrap func(net.Conn) net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a put that was given up shall not arrive when the connection has been given up too
	}
	if wrap != nil {
		conn = wrap(conn)
	}
	if config == nil {
		return conn, nil
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}
