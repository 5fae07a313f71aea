package reprise

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Revocation names lineages that are not to resume any more: those that have begun already, wherever their sessions lie, and whatever
// descends from them. Who makes a full handshake after the revocation has a new lineage, which resumes. It is made by
// [RevokeAll] and its like; the zero value names nothing and is refused.
//
// Revoking a million sessions is one write. The node that made it heeds it at once ([StoreBinding.Revoke]), each other one as soon as the
// store tells of it, if it does ([NoticeSwapped]), and within two seconds.
type Revocation struct {
	property byte
	value    []byte    // what the tag is of
	tag      RecordTag // instead of a value
	session  *Session  // of RevokeSession
	text     string    // what String returns; empty for the zero value
}

// RevokeAll revokes every lineage.
func RevokeAll() Revocation { return Revocation{text: "all"} }

// RevokeSession revokes the lineage of the session.
func RevokeSession(s *Session) Revocation {
	id := s.lineage.id
	return Revocation{property: tagLineage, value: id[:], session: s, text: "lineage of a session"}
}

// RevokeLineage revokes the lineage that has the tag, of the header of a record ([ParseRecordHeader]). The header is as
// trustworthy as the store.
func RevokeLineage(tag RecordTag) Revocation {
	if tag == (RecordTag{}) {
		return Revocation{}
	}
	return Revocation{property: tagLineage, tag: tag, text: "lineage " + tag.String()}
}

// RevokeClientCertificate revokes the lineages of clients that have shown the certificate with the fingerprint: the SHA-256 digest of
// the leaf, in DER.
//
// Warning: the certificate stays good for full handshakes, unless VerifyPeerCertificate or the CA says otherwise.
func RevokeClientCertificate(fingerprint [sha256.Size]byte) Revocation {
	return Revocation{property: tagFingerprint, value: fingerprint[:], text: fmt.Sprintf("client certificate %x", fingerprint)}
}

// RevokeServerName revokes the lineages of clients that have asked for the server name, in any spelling.
func RevokeServerName(name string) Revocation {
	name = canonicalServerName(name)
	if name == "" {
		return Revocation{}
	}
	return Revocation{property: tagServerName, value: []byte(name), text: fmt.Sprintf("server name %q", name)}
}

// RevokeContext revokes the lineages of a session ID context.
func RevokeContext(context []byte) Revocation {
	if len(context) == 0 {
		return Revocation{}
	}
	return Revocation{property: tagContext, value: append([]byte(nil), context...), text: fmt.Sprintf("context %q", context)}
}

// String says what is revoked, such as `server name "www.example"`.
func (r Revocation) String() string {
	if r.isZero() {
		return "nothing"
	}
	return r.text
}

// Format writes what [Revocation.String] returns, for every verb.
func (r Revocation) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.String()) }

func (r Revocation) isZero() bool { return r.text == "" }

// names returns the names that lineages are revoked under: one for each fleet key, so that no rotation hides it.
func (r Revocation) names(keys *FleetKeys) []revokedName {
	if r.property == allLineages || r.tag != (RecordTag{}) {
		return []revokedName{{r.property, r.tag}}
	}
	names := make([]revokedName, len(keys.keys))
	for i, key := range keys.keys {
		names[i] = revokedName{r.property, key.recordTag(r.property, r.value)}
	}
	return names
}

var (
	// ErrNoRevocations is returned by [StoreBinding.Revoke] and [RevokeIn] if the store is no [Swapper].
	ErrNoRevocations = errors.New("reprise: the store can't keep revocations; remove the sessions instead")

	errNothingRevoked = errors.New("reprise: nothing to revoke: a Revocation is made by RevokeAll, RevokeServerName and the like")
)

// Revoke revokes lineages, here at once and on other nodes within two seconds, as [Revocation] says. Their sessions are declined as [Revoked]; those of the
// internal cache, and their records in the store, are removed ([RemovedRevoked]) when they are offered next, or when their time is up.
// That of [RevokeSession] is removed at once, even if the rest fails.
//
// After an error the revocation may have been made or not; it does no harm to make it again. With [ErrNoRevocations] it was not.
//
// # When the store fails
//
// A node reads once a second at least what was revoked. If it can't for 10 seconds, or never could, sessions with client certificates are declined
// as [StoreError], and all others go on by what the node knows. A store that has lost revocations, in a crash, a failover or an older
// copy, hears of them again from every node that knows them. If it has lost all of them and no node knows any, every lineage of
// before counts as revoked.
func (b *StoreBinding) Revoke(ctx context.Context, r Revocation) error {
	if r.isZero() {
		return errNothingRevoked
	}
	if r.session != nil {
		defer b.cache.RemoveWith(r.session, RemovedRevoked)
	}
	if b.revocations == nil {
		return ErrNoRevocations
	}
	if err := b.revocations.revoke(ctx, r); err != nil {
		return err
	}
	b.logger.Info("reprise: revoked", "what", r.String())
	return nil
}

// RevokeIn is [StoreBinding.Revoke] for tools that have a store and its fleet keys, and no cache. The nodes that use the store heed it
// within two seconds.
func RevokeIn(ctx context.Context, s Store, keys *FleetKeys, r Revocation) error {
	if r.isZero() {
		return errNothingRevoked
	}
	if err := keys.check(); err != nil {
		return err
	}
	swapper, ok := s.(Swapper)
	if !ok {
		return ErrNoRevocations
	}
	now := func() milliseconds { return toMilliseconds(time.Now()) } //nolint:forbidigo // there is no cache, which would have a clock
	log := newRevocationLog(swapper, func() *FleetKeys { return keys }, now, slog.New(slog.DiscardHandler))
	return log.revoke(ctx, r)
}
