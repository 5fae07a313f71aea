package reprise

import (
	"bytes"
	"fmt"
	"log/slog"
)

// MaxSessionIDLength is the length in bytes of the longest session ID (RFC 5246, section 7.4.1.2).
const MaxSessionIDLength = 32

// A SessionID names a session: 0 to 32 bytes that travel in clear as the session ID of TLS 1.2 or as a ticket.
// The zero value is the empty ID, which names nothing.
//
// Whoever holds a session ID can offer the session, though not resume it without the secret. It is therefore never
// printed: String, Format and LogValue write a placeholder. [Cache.Handle] makes a name that is safe to show.
type SessionID struct {
	bytes  [MaxSessionIDLength]byte
	length int
	_      [8]byte // copied in steps of 16 bytes that don't overlap, or a processor has to wait before it can hash the copy
}

// MakeSessionID copies b into a SessionID. It returns an error if b is longer than [MaxSessionIDLength].
func MakeSessionID(b []byte) (SessionID, error) {
	var id SessionID
	if len(b) > MaxSessionIDLength {
		return id, fmt.Errorf("reprise: session ID of %d bytes, at most %d are allowed", len(b), MaxSessionIDLength)
	}
	id.length = copy(id.bytes[:], b)
	return id, nil
}

// Len returns the number of bytes of the ID.
func (id SessionID) Len() int { return id.length }

// IsZero reports whether the ID is empty.
func (id SessionID) IsZero() bool { return id.length == 0 }

// Bytes returns a copy of the ID's bytes.
func (id SessionID) Bytes() []byte { return bytes.Clone(id.bytes[:id.length]) }

// AppendTo appends the ID's bytes to b.
func (id SessionID) AppendTo(b []byte) []byte { return append(b, id.bytes[:id.length]...) }

// String returns a placeholder that tells the length only.
func (id SessionID) String() string { return fmt.Sprintf("SessionID(%d bytes)", id.length) }

// Format writes the placeholder of [SessionID.String] for every verb.
func (id SessionID) Format(f fmt.State, _ rune) { fmt.Fprint(f, id.String()) }

// LogValue implements [slog.LogValuer].
func (id SessionID) LogValue() slog.Value { return slog.StringValue(id.String()) }

// MarshalText returns the placeholder of [SessionID.String], so that JSON does not show the ID.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
