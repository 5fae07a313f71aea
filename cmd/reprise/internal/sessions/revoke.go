package sessions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/reprise-tls/reprise"
)

// A Selector says whose sessions are to be revoked. Exactly one field is set.
type Selector struct {
	// Session is the first digits of a session's name: its whole lineage is meant.
	Session string `json:"session,omitempty"`
	// ClientCert is the SHA-256 fingerprint of a client certificate, in hexadecimal, with colons or without.
	ClientCert string `json:"client_cert,omitempty"`
	// ServerName is what clients asked for.
	ServerName string `json:"server_name,omitempty"`
	// Context is a session ID context.
	Context string `json:"context,omitempty"`
	// All means every session.
	All bool `json:"all,omitempty"`
}

// Revoked says what was revoked.
type Revoked struct {
	// Revoked is for people, such as `server name "a.example"`.
	Revoked string `json:"revoked"`
	// Session is the name of the session whose lineage was revoked; empty otherwise.
	Session string `json:"session,omitempty"`
}

// ErrSelector is the error of a selector that selects nothing, or several things.
var ErrSelector = errors.New("exactly one of session, client certificate, server name, context and all must be given")

// ErrFingerprint is the error of a text that is no fingerprint.
var ErrFingerprint = errors.New("not a SHA-256 fingerprint: that is 64 hex digits, with colons or without")

// Check returns an error that is [ErrSelector], [ErrFingerprint] or [ErrDigits] unless the selector selects something.
func (s Selector) Check() error {
	n := 0
	for _, given := range []bool{s.Session != "", s.ClientCert != "", s.ServerName != "", s.Context != "", s.All} {
		if given {
			n++
		}
	}
	if n != 1 {
		return ErrSelector
	}
	if s.Session != "" {
		return CheckDigits(s.Session)
	}
	_, err := s.revocation()
	return err
}

// revocation returns the revocation of all selectors but a session.
func (s Selector) revocation() (reprise.Revocation, error) {
	switch {
	case s.ClientCert != "":
		fingerprint, err := parseFingerprint(s.ClientCert)
		return reprise.RevokeClientCertificate(fingerprint), err
	case s.ServerName != "":
		r := reprise.RevokeServerName(s.ServerName)
		if r.String() == (reprise.Revocation{}).String() {
			return r, fmt.Errorf("%q is no server name", s.ServerName)
		}
		return r, nil
	case s.Context != "":
		return reprise.RevokeContext([]byte(s.Context)), nil
	case s.All:
		return reprise.RevokeAll(), nil
	}
	return reprise.Revocation{}, ErrSelector
}

// parseFingerprint reads a fingerprint as openssl and browsers write it.
func parseFingerprint(text string) (fingerprint [32]byte, err error) {
	if _, digits, ok := strings.Cut(text, "="); ok { // sha256 Fingerprint=
		text = digits
	}
	decoded, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(text))
	if err != nil || len(decoded) != len(fingerprint) {
		return fingerprint, fmt.Errorf("%q: %w", text, ErrFingerprint)
	}
	return [32]byte(decoded), nil
}

// Revoke implements [Source]. It returns when the store has the revocation.
func (l *Live) Revoke(ctx context.Context, s Selector) (Revoked, error) {
	return revoke(ctx, s, func(entry Entry) (reprise.Revocation, error) {
		if session := l.lookup(l.cached(entry.Session), entry.Session); session != nil {
			return reprise.RevokeSession(session), nil
		}
		return l.Store.lineage(ctx, entry)
	}, l, l.Binding.Revoke)
}

// Revoke implements [Source]. Servers that use the store heed it within two seconds.
func (s Stored) Revoke(ctx context.Context, selector Selector) (Revoked, error) {
	if s.Keys == nil {
		return Revoked{}, ErrNoKeys
	}
	return revoke(ctx, selector, func(entry Entry) (reprise.Revocation, error) { return s.lineage(ctx, entry) }, s,
		func(ctx context.Context, r reprise.Revocation) error {
			return reprise.RevokeIn(ctx, s.Store, s.Keys, r)
		})
}

// ErrNoKeys is the error of [Stored.Revoke] without fleet keys.
var ErrNoKeys = errors.New("what is revoked in a store is sealed: the fleet key is needed")

// revoke finds out what a selector means, by lineage if it is a session, and revokes it.
func revoke(ctx context.Context, s Selector, lineage func(Entry) (reprise.Revocation, error), source Source,
	do func(context.Context, reprise.Revocation) error,
) (revoked Revoked, err error) {
	if err := s.Check(); err != nil {
		return revoked, err
	}
	var r reprise.Revocation
	if s.Session == "" {
		r, err = s.revocation()
	} else {
		var entry Entry
		if entry, err = Find(ctx, source, s.Session); err == nil {
			r, err = lineage(entry)
		}
		revoked.Session = entry.Session
	}
	if err != nil {
		return revoked, err
	}
	revoked.Revoked = r.String()
	if revoked.Session != "" {
		revoked.Revoked = "lineage of session " + revoked.Session
	}
	return revoked, do(ctx, r)
}

// lineage returns the revocation of the lineage of a stored session, by the header of its record.
func (s Stored) lineage(ctx context.Context, entry Entry) (reprise.Revocation, error) {
	key, err := hex.DecodeString(entry.StoreKey)
	if err != nil || len(key) != len(reprise.StoreKey{}) {
		return reprise.Revocation{}, ErrNotFound
	}
	record, ok, err := s.Store.Get(ctx, reprise.StoreKey(key))
	if err != nil {
		return reprise.Revocation{}, err
	}
	if !ok {
		return reprise.Revocation{}, ErrNotFound
	}
	header, err := reprise.ParseRecordHeader(record)
	return reprise.RevokeLineage(header.Lineage), err
}
