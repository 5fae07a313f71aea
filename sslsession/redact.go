package sslsession

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"
)

// String describes the session without its secret, ID and ticket.
func (x *SSLSession) String() string {
	if x == nil {
		return "SSLSession(nil)"
	}
	return fmt.Sprintf("SSLSession(%s, %s, created %s)",
		tls.VersionName(x.Version), tls.CipherSuiteName(x.CipherSuite), time.Unix(x.Time, 0).UTC().Format(time.RFC3339))
}

// Format writes what [SSLSession.String] returns, for every verb. Like MarshalText it also works for an SSLSession that
// is not pointed to, so that none is printed field by field.
func (x SSLSession) Format(f fmt.State, _ rune) { fmt.Fprint(f, x.String()) }

// LogValue implements [slog.LogValuer] with [SSLSession.String].
func (x SSLSession) LogValue() slog.Value { return slog.StringValue(x.String()) }

// MarshalText implements [encoding.TextMarshaler] with [SSLSession.String], so that JSON does not show the secret.
func (x SSLSession) MarshalText() ([]byte, error) { return []byte(x.String()), nil }
