// Package keycmd is the command that makes, rotates and identifies fleet key files.
package keycmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// Command is reprise key.
type Command struct {
	New    New    `cmd:"" help:"Make a file with a new fleet key, mode 0600."`
	Rotate Rotate `cmd:"" help:"Add a new key to a file. The old one stays as long as its sessions live."`
	ShowID ShowID `cmd:"" name:"show-id" help:"Show the names of the keys in a file, to compare servers by. They tell nothing about the keys."`
}

// Help returns what the help of the command says.
func (Command) Help() string {
	return `A fleet key is the secret that the servers of a fleet share. Whoever has it, a store, and the traffic can resume
the sessions of all clients. A server with an embedded store makes its own at the first start.

Make one for a fleet, and copy it to each server:

    reprise key new /etc/reprise/fleet.key

Rotate it: the new key is used from an hour on, so that there is time to copy the file to each server and to send
each one SIGHUP:

    reprise key rotate --after 1h /etc/reprise/fleet.key
`
}

// New is reprise key new.
type New struct {
	File string `arg:"" help:"File to make; must not exist."`
}

// Run makes the file.
func (c *New) Run(out io.Writer) error {
	err := reprise.CreateFleetKeyFile(c.File)
	if errors.Is(err, fs.ErrExist) {
		return hint.With(fmt.Errorf("%s exists", c.File),
			"to add a new key to it use 'reprise key rotate %s'; servers that lose their key lose their sessions", c.File)
	}
	if err != nil {
		return hint.With(err, "the folder must exist, have room, and this user must be allowed to write there")
	}
	return show(out, c.File)
}

// Rotate is reprise key rotate.
type Rotate struct {
	File  string        `arg:"" help:"File to change."`
	After time.Duration `default:"0s" placeholder:"DURATION" help:"When the new key becomes the current one: time to copy the file to all servers of a fleet. Default: at once."`
}

// Run adds a key to the file.
func (c *Rotate) Run(out io.Writer) error {
	if c.After < 0 {
		return hint.With(fmt.Errorf("--after %v: must not be negative", c.After), "such as --after 1h")
	}
	if _, err := reprise.LoadFleetKeys(c.File); err != nil {
		return config.FleetKeyError(c.File, err)
	}
	if err := reprise.RotateFleetKeyFile(c.File, time.Now(), c.After); err != nil {
		return hint.With(err, "'reprise key show-id %s' shows the keys and their times", c.File)
	}
	if err := show(out, c.File); err != nil {
		return err
	}
	fmt.Fprintln(out, "Copy the file to each server that shares the store, then have each load it: kill -HUP, or systemctl reload reprise.")
	return nil
}

// ShowID is reprise key show-id.
type ShowID struct {
	File string `arg:"" help:"File to read."`
}

// Run prints the names of the keys.
func (c *ShowID) Run(out io.Writer) error { return show(out, c.File) }

func show(out io.Writer, file string) error {
	keys, err := reprise.LoadFleetKeys(file)
	if err != nil {
		return config.FleetKeyError(file, err)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tSTATE\tCURRENT FROM")
	for _, key := range keys.Info(time.Now()) {
		from := "the beginning"
		if !key.CurrentFrom.IsZero() {
			from = key.CurrentFrom.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", key.Name, key.State, from)
	}
	return table.Flush()
}
