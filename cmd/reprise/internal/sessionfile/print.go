package sessionfile

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

func (d *description) printJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

// A table prints what people read: a line for each property.
type table struct{ *tabwriter.Writer }

func (t table) row(name, format string, args ...any) {
	fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

// rowIf prints a property that most sessions do not have.
func (t table) rowIf(has bool, name, format string, args ...any) {
	if has {
		t.row(name, format, args...)
	}
}

func (d *description) printTable(out io.Writer) error {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row("form", "%s", formNames[d.Form])
	t.rowIf(d.Session != "", "session", "%s", d.Session)
	if d.Header != nil {
		d.Header.print(t)
	}
	t.rowIf(d.Sealed != "", "sealed", "%s", d.Sealed)
	if d.contents != nil {
		d.contents.print(t)
	}
	t.rowIf(d.More, "note", "the file has another session behind this one")
	return t.Flush()
}

var formNames = map[Form]string{
	formPEM:     "SSL_SESSION in PEM",
	formDER:     "SSL_SESSION in DER",
	formReprise: "encoded session of Reprise",
	formRecord:  "sealed record of Reprise",
}

func (h *header) print(t table) {
	t.row("record", "%d bytes, in clear:", h.Bytes)
	t.row("  created", "%s", h.Created.Format(time.RFC3339Nano))
	t.row("  expires", "%s", expiry(h.Expires))
	t.row("  incarnation", "%d", h.Incarnation)
	t.row("  lineage tag", "%s", h.LineageTag)
	t.row("  scope tag", "%s", h.ScopeTag)
	t.row("  server name tag", "%s", h.ServerNameTag)
	t.rowIf(h.ClientCertificateTag != "", "  client certificate tag", "%s", h.ClientCertificateTag)
}

func (c *contents) print(t table) {
	t.row("version", "%s", c.TLSVersion)
	t.row("cipher suite", "%s", c.CipherSuite)
	s := c.Secrets
	if s == nil {
		s = &secrets{SessionID: hidden(c.SessionIDBytes), Secret: hidden(c.SecretBytes), Ticket: hidden(c.TicketBytes)}
	}
	t.row("session ID", "%s", orNone(s.SessionID))
	t.row("secret", "%s", orNone(s.Secret))
	t.row("extended master secret", "%t", c.EMS)
	c.printTimes(t)
	t.row("session ID context", "%s", orNone(c.Context))
	t.row("server name", "%s", orNone(c.ServerName))
	t.row("ALPN", "%s", orNone(c.ALPN))
	t.row("key exchange group", "%s", orNone(c.Group))
	c.printPeer(t)
	c.printTicket(t, s)
	t.rowIf(c.PSKIdentityHint != "", "PSK identity hint", "%s", c.PSKIdentityHint)
	t.rowIf(c.PSKIdentity != "", "PSK identity", "%s", c.PSKIdentity)
	t.rowIf(c.SRPUsername != "", "SRP user name", "%s", c.SRPUsername)
	t.rowIf(c.Compression != 0, "compression", "%d", c.Compression)
	t.rowIf(c.MaxFragmentLength != 0, "max fragment length", "code %d", c.MaxFragmentLength)
	for _, n := range c.AppDataBytes {
		t.row("application data", "%d bytes", n)
	}
	if c.Own != nil {
		c.Own.print(t)
	}
	t.row("usable in Reprise", "%s", c.Reprise)
	t.row("usable in OpenSSL", "%s", c.OpenSSL)
}

func (c *contents) printTimes(t table) {
	created := "not told: OpenSSL takes the time of reading"
	if c.Created != nil {
		created = c.Created.Format(time.RFC3339Nano)
	}
	t.row("created", "%s", created)
	timeout := time.Duration(0)
	if c.TimeoutSeconds > 0 && c.TimeoutSeconds < year9999/1000 {
		timeout = time.Duration(c.TimeoutSeconds) * time.Second
	}
	switch {
	case c.TimeoutSeconds == 0:
		t.row("timeout", "not told: OpenSSL takes 3 s")
	case timeout > 0:
		t.row("timeout", "%d s (%v)", c.TimeoutSeconds, timeout)
	default:
		t.row("timeout", "%d s", c.TimeoutSeconds)
	}
	if c.Expires != nil {
		t.row("expires", "%s", expiry(*c.Expires))
	}
}

func expiry(at time.Time) string {
	when := at.Format(time.RFC3339Nano)
	if left := time.Until(at).Round(time.Second); left > 0 {
		return fmt.Sprintf("%s (in %v)", when, left)
	}
	return when + " (has expired)"
}

func (c *contents) printPeer(t table) {
	for i, cert := range c.Certificates {
		name := "peer certificate"
		if i > 0 {
			name = "  issued by"
		}
		t.row(name, "%s", orNone(cert.Subject))
		t.rowIf(cert.Issuer != "" && i == len(c.Certificates)-1, "  issuer", "%s", cert.Issuer)
		if cert.NotAfter != nil {
			t.row("  not after", "%s", cert.NotAfter.Format(time.RFC3339))
		}
		t.row("  SHA-256", "%s", cert.SHA256)
	}
	t.rowIf(len(c.Certificates) > 0 || c.VerifyResult != 0, "verify result", "%s", verifyResult(c.VerifyResult))
	t.rowIf(c.PeerPublicKeyBytes > 0, "peer public key", "%d bytes", c.PeerPublicKeyBytes)
}

// verifyResult names the codes of X509_STORE_CTX_get_error(3) that are met most.
func verifyResult(code int32) string {
	names := map[int32]string{
		0: "ok", 1: "unspecified: was not told", 10: "the certificate has expired", 18: "self-signed", 19: "self-signed in the chain",
		20: "the issuer is not known", 21: "the leaf alone",
	}
	if name := names[code]; name != "" {
		return fmt.Sprintf("%d (%s)", code, name)
	}
	return fmt.Sprint(code)
}

func (c *contents) printTicket(t table, s *secrets) {
	t.rowIf(c.TicketBytes > 0, "ticket", "%s", s.Ticket)
	t.rowIf(c.TicketLifetimeHint > 0, "ticket lifetime hint", "%d s", c.TicketLifetimeHint)
	t.rowIf(s.TicketAgeAdd > 0, "ticket age_add", "%d", s.TicketAgeAdd)
	t.rowIf(c.MaxEarlyData > 0, "max early data", "%d", c.MaxEarlyData)
}

func (o *own) print(t table) {
	t.row("scope", "%s", o.Scope)
	t.row("lineage", "%s", o.Lineage)
	t.row("  full handshake", "%s", o.FullHandshake.Format(time.RFC3339Nano))
	t.row("  ends", "%s", expiry(o.LineageEnds))
	t.row("  generation", "%d", o.Generation)
	t.row("single use", "%t", o.SingleUse)
}

func hidden(bytes int) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes, shown with --secrets", bytes)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
