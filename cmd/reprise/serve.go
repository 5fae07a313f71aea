package main

import (
	"fmt"
	"io"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/serve"
)

type serveCommand struct {
	config.Serve `embed:""`

	Check bool `env:"-" help:"Only check the settings and the files that they name, and exit: 0 if all is well."`
}

// Help returns what the help of the command says.
func (serveCommand) Help() string {
	return `Each setting is a flag, a variable in the environment, or a key of the TOML file of --config, and counts in this order:
--cache-size 100000, REPRISE_CACHE_SIZE=100000, cache-size = 100000.

Try it out:

    reprise serve --self-signed

In front of a web server, with a certificate for two names and the embedded store:

    reprise serve --listen :443 --cert site.pem --key site.key --backend http://127.0.0.1:8080

One server of a fleet; sessions of one resume on all:

    reprise key new fleet.key       # once, then copy it to each server
    REPRISE_STORE=rediss://user:password@redis.example:6379 \
    reprise serve --listen :443 --cert site.pem --key site.key --fleet-key fleet.key

With client certificates, which need a name for what they give access to:

    reprise serve --cert site.pem --key site.key --client-ca clients.pem --context shop

SIGHUP reads certificates and fleet keys again. SIGTERM stops accepting, lets connections end, writes what is queued,
and exits with 0; a second one exits at once.
`
}

// Run serves, or only checks.
func (c *serveCommand) Run(out io.Writer, origins config.Origins) error {
	if err := c.Serve.Check(); err != nil {
		return origins.Point(err)
	}
	if c.Check {
		_, err := fmt.Fprintln(out, "settings are good")
		return err
	}
	return serve.Run(&c.Serve, programVersion(), out)
}
