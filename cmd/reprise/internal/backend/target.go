// Package backend passes what clients send to a server behind: a stream of bytes, or HTTP requests.
package backend

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// A Target is where a backend is reached.
type Target struct {
	// URL is tcp://HOST:PORT or http://HOST[:PORT][/PATH].
	URL *url.URL
}

// ParseTarget reads a backend's URL.
func ParseTarget(raw string) (*Target, error) {
	const suchAs = "such as --backend tcp://127.0.0.1:9000 or --backend http://127.0.0.1:8080"
	if strings.Contains(raw, "@") { // whatever else is wrong with it, it is not shown
		return nil, hint.With(errors.New("backend: a user and a password can't be passed on to it"), suchAs)
	}
	u, err := url.Parse(raw)
	if err == nil {
		err = check(u)
	}
	if err != nil {
		return nil, hint.With(fmt.Errorf("backend %q: %w", raw, err), suchAs)
	}
	return &Target{u}, nil
}

func check(u *url.URL) error {
	if u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be a scheme, a host and a port, and for http a path")
	}
	if port := u.Port(); port != "" {
		if _, err := net.LookupPort("tcp", port); err != nil {
			return errors.New("the port must be a number from 0 to 65535")
		}
	}
	switch u.Scheme {
	case "tcp":
		if u.Path != "" {
			return errors.New("tcp has no path")
		}
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Hostname() == "" || u.Port() == "" {
			return errors.New("tcp needs a host and a port")
		}
	case "http":
		if u.Hostname() == "" {
			return errors.New("has no host")
		}
	default:
		return fmt.Errorf("scheme %q is neither tcp nor http", u.Scheme)
	}
	return nil
}

// IsHTTP reports whether the backend gets HTTP requests; else it gets the bytes as they come.
func (t *Target) IsHTTP() bool { return t.URL.Scheme == "http" }
