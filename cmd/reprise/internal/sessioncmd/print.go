package sessioncmd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
)

// A printer prints a list of sessions as it comes: a table, or an array of JSON.
type printer struct {
	out   *bufio.Writer
	table *tabwriter.Writer // nil for JSON
	n     int
}

// flushRows is how many rows of a table are aligned together.
const flushRows = 1000

func newPrinter(out io.Writer, asJSON bool) *printer {
	p := &printer{out: bufio.NewWriter(out)}
	if !asJSON {
		p.table = tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	}
	return p
}

func (p *printer) entry(e sessions.Entry) error {
	p.n++
	if p.table == nil {
		return p.element(e)
	}
	if p.n == 1 {
		fmt.Fprintln(p.table, "SESSION\tWHERE\tAGE\tEXPIRES IN\tVERSION\tGENERATION\tSERVER NAME")
	}
	p.row(e)
	if p.n%flushRows == 0 {
		return p.table.Flush()
	}
	return nil
}

func (p *printer) element(e sessions.Entry) error {
	separator := ",\n "
	if p.n == 1 {
		separator = "[\n "
	}
	fmt.Fprint(p.out, separator)
	encoded, err := json.Marshal(e)
	if err == nil {
		_, err = p.out.Write(encoded)
	}
	return err
}

func (p *printer) row(e sessions.Entry) {
	version, generation, serverName := "-", "-", "-"
	if d := e.Details; d != nil {
		version, generation, serverName = d.TLSVersion, fmt.Sprint(d.Generation), orNone(d.ServerName)
	}
	fmt.Fprintf(p.table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
		e.Session, where(e), short(time.Since(e.Created)), short(time.Until(e.Expires)), version, generation, serverName)
}

// summary says what a table does not show.
func (p *printer) summary(more bool) {
	switch {
	case p.table == nil:
	case p.n == 0:
		fmt.Fprintln(p.table, "no sessions")
	case more:
		fmt.Fprintln(p.table, "there are more; --limit 0 lists all")
	}
}

// end prints what is left.
func (p *printer) end() error {
	switch {
	case p.table != nil:
		if err := p.table.Flush(); err != nil {
			return err
		}
	case p.n == 0:
		fmt.Fprintln(p.out, "[]")
	default:
		fmt.Fprintln(p.out, "\n]")
	}
	return p.out.Flush()
}

// printDetails prints all that is known of a session.
func printDetails(out io.Writer, e sessions.Entry) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
	row("session", e.Session)
	row("where", where(e))
	row("created", moment(e.Created))
	row("expires", moment(e.Expires))
	if d := e.Details; d != nil {
		row("full handshake", moment(d.FullHandshake))
		row("generation", fmt.Sprint(d.Generation))
		row("version", d.TLSVersion)
		row("cipher suite", d.CipherSuite)
		row("server name", orNone(d.ServerName))
		row("ALPN", orNone(d.ALPN))
		row("context", orNone(d.Context))
		row("scope", d.Scope)
		row("single use", fmt.Sprint(d.SingleUse))
		row("client certificate", orNone(d.ClientCertificate))
	}
	if h := e.Header; h != nil {
		row("store key", e.StoreKey)
		row("record", fmt.Sprintf("%d bytes", h.RecordBytes))
		row("lineage tag", h.LineageTag)
		row("scope tag", h.ScopeTag)
		row("server name tag", h.ServerNameTag)
		row("client certificate tag", orNone(h.ClientCertificateTag))
	}
	return table.Flush()
}

func where(e sessions.Entry) string {
	switch {
	case e.Cached && e.Stored:
		return "cache, store"
	case e.Cached:
		return "cache"
	default:
		return "store"
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// short returns a duration in its two largest units.
func short(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return d.String()
	}
}

func moment(t time.Time) string { return t.Local().Format(time.DateTime) }

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
