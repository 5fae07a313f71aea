package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// Options are the settings of a [Store]. The zero value is usable.
type Options struct {
	// Prefix begins the keys of all records in Redis. Empty is [DefaultPrefix]. Services that share a server and must
	// not see each other's records need different ones, and users of Redis that may use no other.
	Prefix string

	// TLS is the configuration for rediss. Its ServerName, if empty, is the host of the URL. Nil is the default of
	// crypto/tls: the roots of the system.
	TLS *tls.Config

	// Unsafe allows a server on another machine to be reached without TLS or without a password. Who listens there can
	// count and copy records, and who speaks can delete them; records stay sealed.
	Unsafe bool

	// Lazy makes Open return a store though the server cannot be reached. Calls fail until it can.
	Lazy bool
}

// ErrUnsafe is the error of [Open] for a server on another machine without TLS and password.
var ErrUnsafe = errors.New("a Redis server on another machine needs rediss:// and a password")

const (
	// connectTimeout is how long a connection may take to be made, TLS and password included.
	connectTimeout = 2 * time.Second
	// silence is how long a server that owes an answer may say nothing before its connection is given up.
	silence = 3 * time.Second
)

// Open connects to the server of a URL:
//
//	redis://[user[:password]@]host[:port][/database]
//	rediss://[user[:password]@]host[:port][/database]   with TLS
//
// The default port is 6379 and the default database is 0. Open tries a take, so that a wrong password, missing rights
// and a server that is too old show at once. No error has the password in it.
func Open(address string, options Options) (*Store, error) {
	client, err := clientOptions(address, options)
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	s, err := connect(client, options)
	if err != nil {
		return nil, fmt.Errorf("redisstore: open %s: %w", client.InitAddress[0], err)
	}
	return s, nil
}

func connect(o rueidis.ClientOption, options Options) (*Store, error) {
	client, err := rueidis.NewClient(o)
	if client == nil {
		return nil, err
	}
	s := New(client, options)
	s.owned = true
	if options.Lazy {
		return s, nil // the client tries again at the next call
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		err = client.Do(ctx, client.B().Getdel().Key(s.name(randomKey())).Build()).Error()
	}
	if err != nil && !rueidis.IsRedisNil(err) {
		client.Close()
		return nil, err
	}
	return s, nil
}

// randomKey returns a key that no record has.
func randomKey() (key reprise.StoreKey) {
	rand.Read(key[:])
	return key
}

// clientOptions returns the options of the client for a URL (docs/decisions/0003-redis-client.md).
func clientOptions(address string, options Options) (o rueidis.ClientOption, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		// The error of url.Parse would show the password.
		return o, errors.New("not a URL like rediss://user:password@host:6379/0 (write special characters of the password as %XX)")
	}
	o = rueidis.ClientOption{
		InitAddress:       []string{net.JoinHostPort(u.Hostname(), portOf(u))},
		Username:          u.User.Username(),
		Dialer:            net.Dialer{Timeout: connectTimeout},
		ConnWriteTimeout:  silence,
		ClientSetInfo:     rueidis.DisableClientSetInfo,
		DisableCache:      true, // a record is read once
		DisableRetry:      true, // a dead server shall show at once
		ForceSingleClient: true,
	}
	o.Password, _ = u.User.Password()
	if o.SelectDB, err = databaseOf(u); err != nil {
		return o, err
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return o, errors.New("the URL has settings after the database, which are not known here")
	}
	switch u.Scheme {
	case "redis":
	case "rediss":
		o.TLSConfig = tlsConfig(options.TLS, u.Hostname())
	default:
		return o, fmt.Errorf("scheme %q, want redis or rediss", u.Scheme)
	}
	if !options.Unsafe && !isLoopback(u.Hostname()) && (o.TLSConfig == nil || o.Password == "") {
		return o, ErrUnsafe
	}
	return o, nil
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return "6379"
}

// databaseOf returns the number of the database in the path of the URL.
func databaseOf(u *url.URL) (int, error) {
	path := strings.Trim(u.Path, "/")
	if path == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("database %q, want a number", path)
	}
	return int(n), nil
}

func tlsConfig(config *tls.Config, host string) *tls.Config {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

// isLoopback reports whether host is this machine. Names are not looked up, but for localhost, which is what it says.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}
