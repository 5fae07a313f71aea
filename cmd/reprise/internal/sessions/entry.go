// Package sessions lists, shows and removes the sessions of a server, or of a store that no server has open.
package sessions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
)

// An Entry is what can be told of a session. A session is known by the first 12 hex digits of its store key, as in logs
// and answers. What a sealed record does not say in clear is known of sessions in the internal cache only.
type Entry struct {
	Session string `json:"session"`
	// StoreKey is the whole store key in hexadecimal; empty if the session is in no store.
	StoreKey string `json:"store_key,omitempty"`
	// Cached tells that the session is in the server's internal cache, Stored that it is in the store.
	Cached bool `json:"cached"`
	Stored bool `json:"stored"`
	// Created and Expires are when the session was made, and until when it may be resumed.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`

	// Details are known of sessions in the internal cache.
	*Details
	// Header is known of sessions in the store.
	*Header
}

// Details are what the internal cache knows of a session.
type Details struct {
	TLSVersion        string    `json:"tls_version"`
	CipherSuite       string    `json:"cipher_suite"`
	ServerName        string    `json:"server_name"`
	ALPN              string    `json:"alpn"`
	Context           string    `json:"context"`
	Scope             string    `json:"scope"`
	FullHandshake     time.Time `json:"full_handshake"`
	Generation        uint32    `json:"generation"`
	SingleUse         bool      `json:"single_use"`
	ClientCertificate string    `json:"client_certificate,omitempty"` // subject
}

// Header is what a sealed record says in clear. Tags are equal where sessions have the property in common.
type Header struct {
	RecordBytes          int    `json:"record_bytes"`
	LineageTag           string `json:"lineage_tag"`
	ScopeTag             string `json:"scope_tag"`
	ServerNameTag        string `json:"server_name_tag"`
	ClientCertificateTag string `json:"client_certificate_tag,omitempty"`
}

// Digits is the number of hex digits that name a session.
const Digits = 12

// A Source has sessions.
type Source interface {
	// All iterates over the sessions whose name begins with prefix, a few hex digits or none. An error ends the
	// iteration.
	All(ctx context.Context, prefix string) iter.Seq2[Entry, error]
	// Remove removes the session whose name begins with digits: so that it resumes nowhere the source reaches.
	// Its errors are those of [Find].
	Remove(ctx context.Context, digits string) (Entry, error)
	// Flush removes all sessions, or those only that have expired.
	Flush(ctx context.Context, expiredOnly bool) (Flushed, error)
	// Revoke revokes lineages. Its errors are those of [Selector.Check] and [Find], [ErrNoKeys], and
	// [reprise.ErrNoRevocations].
	Revoke(ctx context.Context, s Selector) (Revoked, error)
}

// Flushed says how many sessions a flush has removed.
type Flushed struct {
	// Cached is how many were in the internal cache, Stored how many in the store, -1 if that is not known. A session can
	// have been in both.
	Cached int `json:"cached"`
	Stored int `json:"stored"`
}

// ErrNotFound is the error of a session that is not there.
var ErrNotFound = errors.New("no session of that name: it has expired, was removed, or is on another server only")

// An AmbiguousError says that digits name several sessions.
type AmbiguousError struct {
	// Candidates are the names of some of them.
	Candidates []string
	// More tells that there are more than these.
	More bool
}

// Error lists the candidates.
func (e *AmbiguousError) Error() string {
	list := strings.Join(e.Candidates, ", ")
	if e.More {
		list += ", …"
	}
	return "several sessions have these digits: " + list
}

// maxCandidates is how many sessions an [AmbiguousError] lists at most.
const maxCandidates = 10

// Find returns the one session whose name begins with digits. The error is [ErrDigits], [ErrNotFound] or an
// [AmbiguousError], or one of the source.
func Find(ctx context.Context, source Source, digits string) (Entry, error) {
	if err := CheckDigits(digits); err != nil {
		return Entry{}, err
	}
	var found []Entry
	ambiguous := &AmbiguousError{}
	for entry, err := range source.All(ctx, digits) {
		if err != nil {
			return Entry{}, err
		}
		if len(found) == maxCandidates {
			ambiguous.More = true
			break
		}
		found = append(found, entry)
	}
	switch len(found) {
	case 0:
		return Entry{}, ErrNotFound
	case 1:
		return found[0], nil
	}
	for _, entry := range found {
		ambiguous.Candidates = append(ambiguous.Candidates, entry.Session)
	}
	return Entry{}, ambiguous
}

// ErrDigits is the error of digits that can't name a session.
var ErrDigits = errors.New("not the name of a session: that is up to 12 hex digits, in lower case")

// CheckDigits returns an error that is [ErrDigits] unless digits may be the name of a session, cut off anywhere, or a
// whole store key.
func CheckDigits(digits string) error {
	if digits == "" || len(digits) > 2*len(reprise.StoreKey{}) || strings.Trim(digits, "0123456789abcdef") != "" {
		return fmt.Errorf("%q: %w", digits, ErrDigits)
	}
	return nil
}

// fromSession returns what the internal cache knows of a session.
func fromSession(name string, s *reprise.Session) Entry {
	return Entry{
		Session: name,
		Cached:  true,
		Created: s.Created().UTC(),
		Expires: s.Expiry().UTC(),
		Details: details(s),
	}
}

// latestTime is the last that JSON has a form for (RFC 3339, section 1).
var latestTime = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// fromRecord returns what a sealed record says in clear. A record that can't be read, such as one of a newer version
// of this program, still has a name and an expiry.
func fromRecord(key reprise.StoreKey, record []byte, expiry time.Time) Entry {
	name := hex.EncodeToString(key[:])
	entry := Entry{Session: name[:Digits], StoreKey: name, Stored: true, Expires: expiry.UTC()}
	header, err := reprise.ParseRecordHeader(record)
	if err != nil || header.Created.After(latestTime) || header.Expiry.After(latestTime) { // a header is not authenticated here
		return entry
	}
	entry.Created, entry.Expires = header.Created.UTC(), header.Expiry.UTC()
	entry.Header = &Header{
		RecordBytes:   len(record),
		LineageTag:    header.Lineage.String(),
		ScopeTag:      header.Scope.String(),
		ServerNameTag: header.ServerName.String(),
	}
	if header.ClientCertificate != (reprise.RecordTag{}) {
		entry.ClientCertificateTag = header.ClientCertificate.String()
	}
	return entry
}
