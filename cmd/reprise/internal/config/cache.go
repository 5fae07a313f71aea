package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// Cache says which sessions there are and when they end.
type Cache struct {
	Context   string        `placeholder:"NAME" help:"Session ID context, up to 32 bytes: sessions of one never resume in another. The same on all nodes of a fleet. Required with --client-ca."`
	Timeout   time.Duration `default:"2h" placeholder:"DURATION" help:"How long a session may be resumed, 7 days at most. Default: ${default}."`
	CacheSize int           `default:"20480" placeholder:"N" help:"Sessions in the internal cache; 0 is no limit. Default: ${default}."`
	Mode      string        `default:"server" placeholder:"NAMES" help:"Session cache mode as in SSL_CTX_set_session_cache_mode(3), separated by commas: off, client, server, both, no-auto-clear, no-internal-lookup, no-internal-store, no-internal, update-time. Default: ${default}."`
	SingleUse bool          `help:"A session can be resumed once only."`
	Unclean   string        `enum:"never,fatal,openssl,strict" default:"openssl" placeholder:"RULE" help:"Which ends of a connection remove its session: never; fatal (alerts only); openssl (also when this side has not sent close_notify); strict (also when the client has not: where the server closes first, which an answer without a backend does, nothing ever resumes then). Default: ${default}."`

	// ModeBits are what Mode means.
	ModeBits reprise.Mode `kong:"-"`
	// UncleanRule is what Unclean means.
	UncleanRule reprise.Unclean `kong:"-"`
}

func (c *Cache) check(clientCerts bool) error {
	if c.Mode == "" { // a variable in the environment that is empty says nothing
		c.Mode = "server"
	}
	var modeErr error
	c.ModeBits, modeErr = parseMode(c.Mode)
	c.UncleanRule = uncleanRules[c.Unclean]
	return hint.Join(modeErr, c.checkTimeout(), c.checkSize(), c.checkContext(clientCerts))
}

func (c *Cache) checkTimeout() error {
	if c.Timeout > reprise.MaxLineage {
		return hint.With(fmt.Errorf("--timeout %v: no session resumes longer than 7 days after its full handshake (RFC 8446, section 4.6.1)", c.Timeout),
			"use --timeout 168h or less")
	}
	return positive("--timeout", c.Timeout, "2h")
}

func (c *Cache) checkSize() error {
	if c.CacheSize >= 0 {
		return nil
	}
	return hint.With(fmt.Errorf("--cache-size %d: must not be negative", c.CacheSize),
		"use --cache-size 0 for no limit, --mode server,no-internal for no internal cache")
}

func (c *Cache) checkContext(clientCerts bool) error {
	switch {
	case len(c.Context) > reprise.MaxContextLength:
		return hint.With(fmt.Errorf("--context of %d bytes: at most %d are allowed", len(c.Context), reprise.MaxContextLength), "choose a shorter name")
	case c.Context == "" && clientCerts:
		return hint.With(errors.New("--client-ca without --context: a session carries the client's identity, and must not be resumed by another service"),
			"give this service a name of its own, such as --context shop, the same on all of its nodes")
	}
	return nil
}

var uncleanRules = map[string]reprise.Unclean{
	"never":   reprise.UncleanNever,
	"fatal":   reprise.UncleanFatal,
	"openssl": reprise.UncleanOpenSSL,
	"strict":  reprise.UncleanStrict,
}
