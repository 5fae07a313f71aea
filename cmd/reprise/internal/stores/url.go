// Package stores opens the store that a URL names.
package stores

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// A Kind is a backend for sessions.
type Kind string

// The kinds of stores.
const (
	Memory Kind = "memory" // in this process
	File   Kind = "file"   // embedded, in a folder
	Redis  Kind = "redis"  // a Redis server
)

// A URL says where sessions are kept. It has a password perhaps; print it with String.
type URL struct {
	Kind Kind
	// Dir is the folder of an embedded store.
	Dir string
	raw string
}

const urlHint = "a store is memory:, file:DIR, redis://[USER:PASSWORD@]HOST:PORT[/DB] or rediss:// for TLS, such as --store file:/var/lib/reprise/sessions"

// Parse reads the URL of a store. Unless allowUnsafe is set it refuses a server beyond loopback without TLS or without
// a password. Its errors do not show what it was given.
func Parse(raw string, allowUnsafe bool) (URL, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return URL{}, hint.With(errors.New("store: the URL has no scheme"), urlHint)
	}
	switch scheme {
	case "memory":
		if rest != "" {
			return URL{}, hint.With(errors.New("store: memory: is the whole URL, nothing may follow"), urlHint)
		}
		return URL{Kind: Memory, raw: raw}, nil
	case "file":
		return parseFile(raw, rest)
	case "redis", "rediss":
		if err := checkRedis(raw, allowUnsafe); err != nil {
			return URL{}, err
		}
		return URL{Kind: Redis, raw: raw}, nil
	default:
		return URL{}, hint.With(fmt.Errorf("store: unknown scheme %q", scheme), urlHint)
	}
}

// parseFile reads file:DIR, and file:///DIR too, as URLs of files are often written.
func parseFile(raw, dir string) (URL, error) {
	if strings.HasPrefix(dir, "//") && !strings.HasPrefix(dir, "///") {
		return URL{}, hint.With(errors.New("store: file: with a host"), "for a folder relative to this one use file:DIR, else file:/DIR")
	}
	dir = strings.TrimPrefix(dir, "//")
	if dir == "" {
		return URL{}, hint.With(errors.New("store: file: without a folder"), urlHint)
	}
	return URL{Kind: File, Dir: dir, raw: raw}, nil
}

func checkRedis(raw string, allowUnsafe bool) error {
	u, err := url.Parse(raw)
	if err != nil {
		return hint.With(errors.New("store: not a valid URL"), "%s; percent-encode special characters of a password", urlHint)
	}
	if u.Hostname() == "" {
		return hint.With(errors.New("store: the URL has no host"), urlHint)
	}
	if _, err := strconv.ParseUint("0"+strings.TrimPrefix(u.Path, "/"), 10, 16); err != nil || u.RawQuery != "" || u.Fragment != "" {
		return hint.With(errors.New("store: after the host and the port only the number of a database may follow"), urlHint)
	}
	if allowUnsafe || isLoopback(u.Hostname()) {
		return nil
	}
	if u.Scheme != "rediss" {
		return hint.With(fmt.Errorf("store: %s is not on this machine, and redis:// is without TLS", u.Host),
			"use rediss://, or --unsafe-store if the network between is safe")
	}
	if _, ok := u.User.Password(); !ok {
		return hint.With(fmt.Errorf("store: %s is not on this machine, and the URL has no password", u.Host),
			"use rediss://USER:PASSWORD@HOST:PORT, or --unsafe-store if nobody else reaches that server")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Shared reports whether other servers may use the store at the same time.
func (u URL) Shared() bool { return u.Kind == Redis }

// String returns the URL without user and password.
func (u URL) String() string {
	if u.Kind != Redis {
		return u.raw
	}
	parsed, err := url.Parse(u.raw)
	if err != nil {
		return "redis:"
	}
	parsed.User = nil
	return parsed.String()
}
