// Package sessioncmd is the command that lists, shows and removes sessions.
package sessioncmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
)

// Command is reprise sessions.
type Command struct {
	Where `embed:""`

	List   List   `cmd:"" help:"List sessions."`
	Show   Show   `cmd:"" help:"Show all that is known of one session."`
	Flush  Flush  `cmd:"" help:"Remove all sessions, or those only that have expired."`
	Remove Remove `cmd:"" help:"Remove sessions: their clients make a full handshake next time."`
	Revoke Revoke `cmd:"" help:"Revoke sessions, with all that descend from them, on every server."`
}

// Help returns what the help of the command says.
func (Command) Help() string {
	return `A session is named by the first 12 hex digits of its store key, as in logs and answers; fewer do if they are enough. The
names tell nothing about the session IDs, and nobody can resume by them.

The sessions are those of the running server whose admin interface is found: in its internal cache and in its store.
With --store they are those of a store that no server has open, or of a redis store; what other servers have in their
internal caches is not reached then.

    reprise sessions list
    reprise sessions show 3fa9
    reprise sessions remove 3fa94c21b07e
    reprise sessions flush
    reprise sessions revoke --server-name www.example.com
    reprise sessions list --json --store file:/var/lib/reprise/sessions
`
}

// Where says whose sessions they are.
type Where struct {
	StateDir    string `default:"state" env:"REPRISE_STATE_DIR,STATE_DIRECTORY" placeholder:"DIR" help:"State folder of the running server. Default: ${default}."`
	Admin       string `placeholder:"ADDR" help:"Admin address of the running server. Default: unix:STATE-DIR/admin.sock."`
	Store       string `env:"-" placeholder:"URL" help:"Store to open instead of asking a server: file:DIR, redis:// or rediss://."`
	FleetKey    string `env:"-" placeholder:"FILE" help:"With --store: go on only if its sessions are sealed under this fleet key. Revoking takes it."`
	StorePrefix string `placeholder:"TEXT" help:"What the keys in redis begin with. Default: reprise:."`
	StoreCA     string `name:"store-ca" placeholder:"FILE" help:"CA certificates (PEM) that a rediss:// server is verified against. Default: those of the system."`
	UnsafeStore bool   `help:"Allow a redis store beyond loopback without TLS and password."`
	JSON        bool   `name:"json" env:"-" help:"Print JSON."`
}

// open returns the sessions, and a function that closes what was opened.
func (w *Where) open(ctx context.Context) (sessions.Source, func(), error) {
	if w.Store != "" {
		return w.openStore(ctx)
	}
	raw := w.Admin
	if raw == "" {
		raw = "unix:" + filepath.Join(w.StateDir, "admin.sock")
	}
	addr, err := admin.ParseAddress(raw, true)
	if err != nil {
		return nil, nil, err
	}
	return admin.NewClient(addr), func() {}, nil
}

func (w *Where) openStore(ctx context.Context) (sessions.Source, func(), error) {
	if w.Admin != "" {
		return nil, nil, hint.With(fmt.Errorf("--admin and --store exclude each other"), "leave one of them out")
	}
	url, err := stores.Parse(w.Store, w.UnsafeStore)
	if err != nil {
		return nil, nil, err
	}
	if err := stores.Exists(url); err != nil {
		return nil, nil, err
	}
	store, err := stores.Open(url, stores.Options{Prefix: w.StorePrefix, CA: w.StoreCA, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	closeStore := func() { _ = stores.Close(store) }
	keys, err := w.keys(ctx, store)
	if err != nil {
		closeStore()
		return nil, nil, err
	}
	return sessions.Stored{Store: store, Skip: stores.KeyMark, Keys: keys}, closeStore, nil
}

// keys returns the fleet keys that were given, nil if none were.
func (w *Where) keys(ctx context.Context, store reprise.Store) (*reprise.FleetKeys, error) {
	if w.FleetKey == "" {
		return nil, nil
	}
	keys, err := reprise.LoadFleetKeys(w.FleetKey)
	if err != nil {
		return nil, config.FleetKeyError(w.FleetKey, err)
	}
	return keys, stores.CheckKeys(ctx, store, keys)
}

// with calls f with the sessions.
func (w *Where) with(f func(ctx context.Context, source sessions.Source) error) error {
	ctx := context.Background()
	source, done, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	return f(ctx, source)
}

// List is reprise sessions list.
type List struct {
	Limit int `default:"1000" env:"-" placeholder:"N" help:"List so many at most; 0 for all. Default: ${default}."`
}

// Run prints the sessions.
func (c *List) Run(w *Where, out io.Writer) error {
	if c.Limit < 0 {
		return hint.With(fmt.Errorf("--limit %d: must not be negative", c.Limit), "use --limit 0 for all")
	}
	return w.with(func(ctx context.Context, source sessions.Source) error {
		p := newPrinter(out, w.JSON)
		more, err := each(source.All(ctx, ""), c.Limit, p.entry)
		if err != nil {
			return errors.Join(err, p.end()) // what came before the error is worth printing
		}
		p.summary(more)
		return p.end()
	})
}

// each calls f for the entries up to a limit, and reports whether there are more.
func each(all iter.Seq2[sessions.Entry, error], limit int, f func(sessions.Entry) error) (more bool, err error) {
	n := 0
	for entry, err := range all {
		if err != nil {
			return false, err
		}
		if limit > 0 && n == limit {
			return true, nil
		}
		if err := f(entry); err != nil {
			return false, err
		}
		n++
	}
	return false, nil
}

// Show is reprise sessions show.
type Show struct {
	Digits string `arg:"" help:"The first hex digits of the session's name."`
}

// Run prints a session.
func (c *Show) Run(w *Where, out io.Writer) error {
	return w.with(func(ctx context.Context, source sessions.Source) error {
		entry, err := sessions.Find(ctx, source, c.Digits)
		if err != nil {
			return hintName(err)
		}
		if w.JSON {
			return printJSON(out, entry)
		}
		return printDetails(out, entry)
	})
}

// Flush is reprise sessions flush.
type Flush struct {
	Expired bool `env:"-" help:"Remove those only that have expired, which happens by itself in time."`
}

// Run removes the sessions and says how many there were.
func (c *Flush) Run(w *Where, out io.Writer) error {
	return w.with(func(ctx context.Context, source sessions.Source) error {
		flushed, err := source.Flush(ctx, c.Expired)
		if err != nil {
			return err
		}
		if w.JSON {
			return printJSON(out, flushed)
		}
		_, err = fmt.Fprintf(out, "removed %d sessions from the internal cache and %s from the store\n", flushed.Cached, number(flushed.Stored))
		return err
	})
}

func number(n int) string {
	if n < 0 {
		return "an unknown number"
	}
	return fmt.Sprint(n)
}

// Remove is reprise sessions remove.
type Remove struct {
	Digits []string `arg:"" help:"The first hex digits of the name of each session."`
}

// Run removes the sessions.
func (c *Remove) Run(w *Where, out io.Writer) error {
	return w.with(func(ctx context.Context, source sessions.Source) error {
		var removed []sessions.Entry
		for _, digits := range c.Digits {
			entry, err := source.Remove(ctx, digits)
			if err != nil {
				return hintName(err)
			}
			removed = append(removed, entry)
			if !w.JSON {
				fmt.Fprintf(out, "removed %s\n", entry.Session)
			}
		}
		if w.JSON {
			return printJSON(out, removed)
		}
		return nil
	})
}

// hintName adds to an error about a name what to do.
func hintName(err error) error {
	return hint.With(err, "'reprise sessions list' shows the names; give as many digits as it takes to tell them apart")
}
