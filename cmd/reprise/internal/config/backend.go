package config

import (
	"errors"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/backend"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// Backend says what is behind the server.
type Backend struct {
	Backend       string `placeholder:"URL" help:"Server behind this one: tcp://HOST:PORT gets the bytes, http://HOST:PORT the requests. Without, the server answers by itself how the connection was made."`
	ProxyProtocol bool   `help:"Begin each connection to a tcp:// backend with a PROXY protocol v2 header."`

	// Target is what Backend means; nil without a backend.
	Target *backend.Target `kong:"-"`
}

func (b *Backend) check() error {
	if b.Backend != "" {
		target, err := backend.ParseTarget(b.Backend)
		if err != nil {
			return err
		}
		b.Target = target
	}
	if b.ProxyProtocol && (b.Target == nil || b.Target.IsHTTP()) {
		return hint.With(errors.New("--proxy-protocol is for tcp:// backends"),
			"an http:// backend gets X-Forwarded-For; leave --proxy-protocol out")
	}
	return nil
}
