package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// A deployment is how the servers of a URL belong together.
type deployment string

const (
	standalone deployment = ""
	cluster    deployment = "cluster"
	sentinel   deployment = "sentinel"
)

// A target is what a URL says.
type target struct {
	deployment       deployment
	tls              bool
	hosts            []string // with ports; of sentinels, if the deployment has them
	user, password   string
	database         int
	master           string // of sentinels: the name that they know the servers by
	sentinelUser     string
	sentinelPassword string
}

// ErrUnsafe is the error of [Open] for a server on another machine without TLS and password.
var ErrUnsafe = errors.New("a Redis server on another machine needs TLS and a password")

// An unsafeError says which server is not to be reached safely, and why.
type unsafeError struct{ server, why string }

func (e *unsafeError) Error() string { return e.server + " is not on this machine, and " + e.why }

func (e *unsafeError) Is(target error) bool { return target == ErrUnsafe }

// errURL does not show the URL: it has a password perhaps, and the errors of url.Parse would.
var errURL = errors.New("not a URL like rediss://user:password@host:6379/0 (write special characters of the password as %XX)")

// Check returns the error that [Open] would return for the URL itself, and connects to nothing.
func Check(address string, options Options) error {
	t, err := parse(address)
	if err == nil && !options.Unsafe {
		err = t.checkSafe()
	}
	return err
}

// Redact returns the URL without user and password. Of one that [Open] refuses because it can't tell where they end, it returns the scheme.
func Redact(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	authority, after := cutAuthority(rest)
	if strings.Contains(after, "@") {
		return scheme + "://"
	}
	after, _, _ = strings.Cut(after, "?")
	return scheme + "://" + authority[strings.LastIndex(authority, "@")+1:] + after
}

// cutAuthority cuts off what comes before the path.
func cutAuthority(s string) (authority, after string) {
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func parse(address string) (*target, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, errURL
	}
	t := &target{}
	base, kind, _ := strings.Cut(scheme, "+")
	t.deployment = deployment(kind)
	t.tls = base == "rediss"
	if base != "redis" && base != "rediss" || scheme != base && t.deployment != cluster && t.deployment != sentinel {
		return nil, fmt.Errorf("scheme %q, want redis, redis+cluster or redis+sentinel, or rediss with each", scheme)
	}
	authority, after := cutAuthority(rest)
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	u, err := url.Parse("redis://" + authority[:at] + "host" + after)   // several hosts are no URL to url.Parse
	if err != nil || u.Fragment != "" || strings.Contains(after, "@") { // a password with a slash or the like, perhaps
		return nil, errURL
	}
	t.user = u.User.Username()
	t.password, _ = u.User.Password()
	if err := t.setHosts(hosts); err != nil {
		return nil, err
	}
	return t, errors.Join(t.setPath(u.Path), t.setQuery(u.RawQuery))
}

func (t *target) setHosts(hosts []string) error {
	if len(hosts) > 1 && t.deployment == standalone {
		return errors.New("redis:// with several hosts, which redis+cluster:// and redis+sentinel:// have")
	}
	for _, host := range hosts {
		u, err := url.Parse("redis://" + host)
		if err != nil || u.Hostname() == "" || u.User != nil {
			return errURL
		}
		t.hosts = append(t.hosts, net.JoinHostPort(u.Hostname(), t.portOf(u)))
	}
	return nil
}

func (t *target) portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case t.deployment == sentinel:
		return "26379"
	default:
		return "6379"
	}
}

// setPath reads the number of the database, and before it the name of the master that sentinels need.
func (t *target) setPath(path string) error {
	path = strings.Trim(path, "/")
	if t.deployment == sentinel {
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return errors.New("redis+sentinel:// without the name of a master, such as redis+sentinel://host/mymaster")
		}
	}
	if path == "" {
		return nil
	}
	n, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return fmt.Errorf("database %q, want a number", path)
	}
	if t.deployment == cluster && n != 0 {
		return errors.New("a cluster has database 0 only")
	}
	t.database = int(n)
	return nil
}

// setQuery reads the user and the password of sentinels, which are not those of the servers.
func (t *target) setQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errURL
	}
	for name, value := range values {
		switch {
		case t.deployment == sentinel && name == "sentinel-user":
			t.sentinelUser = value[0]
		case t.deployment == sentinel && name == "sentinel-password":
			t.sentinelPassword = value[0]
		default:
			return errors.New("the URL has settings that are not known here")
		}
	}
	return nil
}

// checkSafe returns an error if a server of the URL is on another machine and not reached by TLS with a password.
func (t *target) checkSafe() error {
	for _, host := range t.hosts {
		password := t.password
		if t.deployment == sentinel {
			password = t.sentinelPassword
		}
		if err := t.checkServer(host, password); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) checkServer(address, password string) error {
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil || isLoopback(host):
		return err
	case !t.tls:
		return &unsafeError{address, "redis:// is without TLS"}
	case password == "" && t.deployment == sentinel:
		return &unsafeError{address, "the URL has no password and sentinel-password"}
	case password == "":
		return &unsafeError{address, "the URL has no password"}
	}
	return nil
}

// isLoopback reports whether host is this machine. Names are not looked up, but for localhost, which is what it says.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}
