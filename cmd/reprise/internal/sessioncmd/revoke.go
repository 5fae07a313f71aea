package sessioncmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
)

// Revoke is reprise sessions revoke.
type Revoke struct {
	Session    string `env:"-" placeholder:"DIGITS" help:"That session, and all that descend from the same full handshake."`
	ClientCert string `env:"-" placeholder:"FINGERPRINT" help:"Sessions of clients with this certificate: its SHA-256 fingerprint, as 'openssl x509 -fingerprint -sha256' prints it."`
	ServerName string `env:"-" placeholder:"NAME" help:"Sessions of clients that have asked for this name."`
	Context    string `env:"-" placeholder:"TEXT" help:"Sessions of this session ID context."`
	All        bool   `env:"-" help:"All sessions."`
}

// Help returns what the help of the command says.
func (Revoke) Help() string {
	return `Sessions that were revoked resume on no server of the fleet any more, nor do those that descend from them; who makes a full
handshake from now on has new ones. It is one write, whatever the number of sessions. Servers heed it within two seconds.

A client certificate stays good for full handshakes: take care of that elsewhere.

    reprise sessions revoke --server-name www.example.com
    reprise sessions revoke --client-cert 9F:86:D0:81:…
    reprise sessions revoke --all --store rediss://… --fleet-key fleet.key
`
}

// Run revokes the sessions and says what it has revoked.
func (c *Revoke) Run(w *Where, out io.Writer) error {
	selector := sessions.Selector(*c)
	if err := selector.Check(); err != nil {
		return hintSelector(err)
	}
	return w.with(func(ctx context.Context, source sessions.Source) error {
		revoked, err := source.Revoke(ctx, selector)
		if err != nil {
			return hintSelector(err)
		}
		if w.JSON {
			return printJSON(out, revoked)
		}
		_, err = fmt.Fprintf(out, "revoked: %s\n", revoked.Revoked)
		return err
	})
}

// hintSelector adds to an error what to do.
func hintSelector(err error) error {
	switch {
	case errors.Is(err, sessions.ErrSelector):
		return hint.With(errors.New("say what to revoke, and one thing at a time"),
			"give one of --session, --client-cert, --server-name, --context and --all")
	case errors.Is(err, sessions.ErrFingerprint):
		return hint.With(err, "'openssl x509 -in CERT -noout -fingerprint -sha256' prints it")
	case errors.Is(err, sessions.ErrNoKeys):
		return hint.With(err, "give the --fleet-key of the servers that use the store")
	case errors.Is(err, reprise.ErrNoRevocations):
		return hint.With(err, "use 'reprise sessions remove' or 'reprise sessions flush'")
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrDigits), errors.As(err, new(*sessions.AmbiguousError)):
		return hintName(err)
	}
	return err
}
