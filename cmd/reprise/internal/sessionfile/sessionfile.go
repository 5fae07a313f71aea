// Package sessionfile is the command that shows and converts a session in a file: in the form of OpenSSL, or in one of ours.
package sessionfile

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// Command is reprise session.
type Command struct {
	Print   Print   `cmd:"" help:"Show what is in a session."`
	Convert Convert `cmd:"" help:"Convert a session between PEM, DER and this program's own encoding."`
}

// Help returns what the help of the command says.
func (Command) Help() string {
	return `A session in a file is one of these; which one, its first bytes say:

    pem      OpenSSL's SSL_SESSION: what 'openssl s_client -sess_out' and 'openssl sess_id' write
    der      the same in DER: what i2d_SSL_SESSION() makes, and Apache or stunnel keep
    reprise  the encoding of this project: what Session.MarshalBinary returns
    record   a sealed record, as it lies in a store of ours

All but pem may also be in hexadecimal, in base64, or as redis-cli shows a string. The file - is standard input.

    openssl s_client -connect HOST:443 -sess_out client.pem </dev/null
    reprise session print client.pem

A record opens by the fleet key and the session ID, which the client's session has, in TLS 1.3 as its ticket. KEY is the store
key, as 'reprise sessions list --json' shows it:

    reprise session print --store file:state/sessions --fleet-key state/fleet.key --id-from client.pem
    redis-cli --raw get reprise:KEY | reprise session print --fleet-key fleet.key --id-from client.pem -

    reprise session convert --to der --out session.der client.pem

Who has the secret of a session can resume it and, in TLS 1.2, read its connections. It is shown with --secrets alone, and so
are session ID and ticket.
`
}

// Print is reprise session print.
type Print struct {
	Input   `embed:""`
	Secrets bool `env:"-" help:"Show session ID, ticket and secret too, in hexadecimal."`
	JSON    bool `name:"json" env:"-" help:"Print JSON."`
}

// Help returns what the help of the command says.
func (Print) Help() string {
	return `It shows what 'openssl sess_id -text' shows, and where the session can be used.

    reprise session print client.pem
    openssl s_client -connect HOST:443 -sess_out /dev/stdout </dev/null | reprise session print --json -
    reprise session print --store file:state/sessions --fleet-key state/fleet.key --id-from client.pem

Without its session ID only the header of a record can be read: times, and tags that are equal where records have the same
scope, lineage, server name or client certificate.
`
}

// Run prints the session.
func (c *Print) Run(out io.Writer) error {
	found, err := c.read()
	if err != nil {
		return err
	}
	d := c.describe(found, c.Secrets)
	if c.JSON {
		return d.printJSON(out)
	}
	return d.printTable(out)
}

// Convert is reprise session convert.
type Convert struct {
	Input   `embed:""`
	To      Form   `enum:"pem,der,reprise,record" default:"pem" env:"-" placeholder:"FORM" help:"What to make of it: pem, der, reprise, or record (only of a record: as it lies in the store). Default: ${default}."`
	Out     string `short:"o" env:"-" placeholder:"FILE" help:"File to write, mode 0600. Default: standard output, unless that is a terminal."`
	Force   bool   `env:"-" help:"Replace the file of --out if there is one."`
	Secrets bool   `env:"-" help:"Write to a terminal too."`
}

// Help returns what the help of the command says.
func (Convert) Help() string {
	return `What it writes has the secret, so a file is made with mode 0600.

    reprise session convert --to der --out session.der client.pem
    reprise session convert session.der | openssl sess_id -text -noout
    reprise session convert --to reprise -o session.bin session.pem
    reprise session convert -o session.pem --store file:state/sessions --fleet-key state/fleet.key --id-from client.pem

What SSL_SESSION has no field for (scope, lineage, the client's chain, milliseconds) goes into its application data, and comes back
from there. A session of other software is given the scope of its own session ID context and server name; one with a client
certificate can't be, and stays in the forms of OpenSSL. No record is made: only servers seal.
`
}

// Run converts the session.
func (c *Convert) Run(out io.Writer) error {
	if c.Force && c.Out == "" {
		return hint.With(errors.New("--force without --out"), "give --out FILE")
	}
	if c.Out == "" && !c.Secrets && isTerminal(os.Stdout) {
		return hint.With(errors.New("standard output is a terminal, which would show the secret"),
			"give --out FILE, or --secrets if it may be shown")
	}
	found, err := c.read()
	if err != nil {
		return err
	}
	converted, err := found.convert(c.To)
	if err != nil {
		return err
	}
	defer clear(converted)
	if c.Out == "" {
		_, err := out.Write(converted)
		return err
	}
	return writeFile(c.Out, converted, c.Force)
}

// isTerminal reports whether people read what is written to f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// convert encodes the session in another form.
func (f *found) convert(to Form) ([]byte, error) {
	switch to {
	case formRecord:
		return f.asRecord()
	case formReprise:
		s, err := f.toSession()
		if err != nil {
			return nil, err
		}
		return s.MarshalBinary()
	case formDER:
		x, err := f.toSSLSession()
		if err != nil {
			return nil, err
		}
		return x.Marshal()
	default:
		x, err := f.toSSLSession()
		if err != nil {
			return nil, err
		}
		return x.MarshalPEM()
	}
}

func (f *found) asRecord() ([]byte, error) {
	if f.form != formRecord {
		return nil, hint.With(fmt.Errorf("a session in the form %s does not become a record", f.form),
			"records are made by servers, for IDs of their own; --to is pem, der or reprise")
	}
	return f.record, nil
}
