package reprise

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A revocationCount numbers the revocations of a fleet, each higher than the one before. It is the time of the revocation, in
// milliseconds since the Unix epoch, unless that would not be higher: so one that a store has forgotten is not given to
// another. A count is compared with other counts, and never with a clock (docs/decisions/0011-revocation.md). A session that has
// captured none has 0.
type revocationCount uint64

// A revokedName names lineages by what they have in common: the tag of a property. That of all lineages is zero.
type revokedName struct {
	property byte
	tag      RecordTag
}

// revocations is what was revoked, up to a count. Two of them are joined by taking the higher count of everything, so that nodes
// which tell each other what they know come to know the same, in whichever order they do.
type revocations struct {
	// begun: of revocations up to this count the names are not known any more. Who captured less counts as revoked.
	begun revocationCount
	// last is the count of the last revocation.
	last revocationCount
	// counts has the last revocation of each name, all of them after begun.
	counts map[revokedName]revocationCount
	// newest has the last revocation by each property.
	newest [numProperties]revocationCount
	// isUnread: what was revoked could not be read for too long.
	isUnread bool
}

const (
	// maxRevocations is how many names are kept; with them a sealed log stays below MaxRecordLength. If there are more, lineages that
	// are older than those left count as revoked.
	maxRevocations = 3800
	// revocationLifetime is how long a name is kept at least: until every lineage is gone that had captured less.
	revocationLifetime = revocationCount(MaxLineage/1e6) + 2*revocationCount(maxClockSkew)
)

// revokes reports whether the session is of a lineage that was revoked. keys are all those that names were, or may have been, made under.
func (r *revocations) revokes(s *Session, keys *FleetKeys) bool {
	captured := s.profile.captured
	if captured != 0 && captured < r.begun || r.newest[allLineages] > captured {
		return true
	}
	for _, property := range revocable {
		if r.newest[property] <= captured {
			continue
		}
		value := s.property(property)
		for _, key := range keys.keys {
			if r.counts[revokedName{property, key.recordTag(property, value)}] > captured {
				return true
			}
		}
	}
	return false
}

// allLineages is the property that all lineages have.
const allLineages = 0

// revocable are the other properties that lineages are revoked by.
var revocable = [...]byte{tagLineage, tagServerName, tagFingerprint, tagContext}

// property returns what a session's tag of the property is of, nil if it does not have the property.
func (s *Session) property(of byte) []byte {
	switch of {
	case tagLineage:
		return s.lineage.id[:]
	case tagServerName:
		return []byte(s.profile.serverName)
	case tagContext:
		return []byte(s.profile.context)
	case tagFingerprint:
		if leaf := s.leaf(); leaf != nil {
			fingerprint := sha256.Sum256(leaf)
			return fingerprint[:]
		}
	}
	return nil
}

// clone returns a copy that may be changed.
func (r *revocations) clone() *revocations {
	c := *r
	c.counts = maps.Clone(r.counts)
	if c.counts == nil {
		c.counts = make(map[revokedName]revocationCount)
	}
	return &c
}

// join adds what another one knows.
func (r *revocations) join(other *revocations) {
	r.begun = max(r.begun, other.begun)
	r.last = max(r.last, other.last)
	for name, count := range other.counts {
		r.counts[name] = max(r.counts[name], count)
	}
	r.normalize(0)
}

// add adds a revocation of lineages by names, at a time in milliseconds.
func (r *revocations) add(names []revokedName, now milliseconds) {
	r.last = r.next(now)
	for _, name := range names {
		r.counts[name] = r.last
	}
	r.normalize(r.last - min(r.last, revocationLifetime))
}

// begin makes all that was captured before count as revoked, because it can't be told any more.
func (r *revocations) begin(now milliseconds) {
	r.last = r.next(now)
	r.normalize(r.last)
}

func (r *revocations) next(now milliseconds) revocationCount {
	return max(r.last+1, revocationCount(max(now, 0)))
}

// normalize forgets the names of revocations up to a count, those that others include, and the first ones if there are too many.
func (r *revocations) normalize(forget revocationCount) {
	if r.begun < forget {
		r.begun = r.lastUpTo(forget)
	}
	if excess := len(r.counts) - maxRevocations; excess > 0 {
		r.begun = max(r.begun, slices.Sorted(maps.Values(r.counts))[excess-1])
	}
	all := r.counts[revokedName{}]
	r.newest = [numProperties]revocationCount{}
	for name, count := range r.counts {
		if count <= r.begun || count <= all && name != (revokedName{}) {
			delete(r.counts, name)
			continue
		}
		r.newest[name.property] = max(r.newest[name.property], count)
	}
}

// lastUpTo returns the count of the last revocation up to a count, or begun if there is none.
func (r *revocations) lastUpTo(count revocationCount) revocationCount {
	if count == r.last {
		return count
	}
	found := r.begun
	for _, c := range r.counts {
		if c <= count {
			found = max(found, c)
		}
	}
	return found
}

// same tells whether both know the same, and know it as well.
func (r *revocations) same(other *revocations) bool {
	return r.isUnread == other.isUnread && r.equal(other)
}

// equal tells whether both know the same.
func (r *revocations) equal(other *revocations) bool {
	return r.begun == other.begun && r.last == other.last && maps.Equal(r.counts, other.counts)
}

// A sealed log is what a store has of the revocations, in the language of RFC 8446, section 3:
//
//	struct {
//	    uint8 property;      /* 0: all lineages, or the property that the tag is of */
//	    RecordTag tag;
//	    uint64 count;
//	} Name;
//
//	struct {
//	    uint64 begun;
//	    uint64 last;
//	    Name names<0..2^16-1>;
//	} Revocations;
//
//	struct {
//	    uint8 revision = 1;
//	    opaque nonce[12];
//	    opaque sealed_revocations[...];
//	} Log;
//
// sealed_revocations is under AES-256-GCM with a random nonce, and the revision as additional data. There is a log under each fleet
// key, and all of them have the same in them. Anything else needs a new revision.
const logRevision = 1

// errLogRevision: a newer version has made the log.
var errLogRevision = errors.New("reprise: the revocations in the store are of a newer version")

// sealRevocations makes the log under the key.
func (key *fleetKey) sealRevocations(r *revocations) []byte {
	be := binary.BigEndian
	plaintext := make([]byte, 0, 2*8+2+revokedNameLength*len(r.counts))
	plaintext = be.AppendUint64(plaintext, uint64(r.begun))
	plaintext = be.AppendUint64(plaintext, uint64(r.last))
	plaintext = be.AppendUint16(plaintext, uint16(revokedNameLength*len(r.counts)))
	for _, name := range r.sorted() {
		plaintext = append(plaintext, name.property)
		plaintext = append(plaintext, name.tag[:]...)
		plaintext = be.AppendUint64(plaintext, uint64(r.counts[name]))
	}
	log := make([]byte, 1, 1+recordOverhead+len(plaintext))
	log[0] = logRevision
	return newAEAD(key.revocationsKey()).Seal(log, nil, plaintext, log[:1])
}

const revokedNameLength = 1 + len(RecordTag{}) + 8

// sorted returns the names, the first revoked first.
func (r *revocations) sorted() []revokedName {
	return slices.SortedFunc(maps.Keys(r.counts), func(a, b revokedName) int {
		return cmp.Or(cmp.Compare(r.counts[a], r.counts[b]), cmp.Compare(a.property, b.property), slices.Compare(a.tag[:], b.tag[:]))
	})
}

// openRevocations reads a log. ok is false if there is none that the key opens.
func (key *fleetKey) openRevocations(log []byte) (r *revocations, ok bool, err error) {
	if len(log) > 0 && log[0] > logRevision {
		return nil, false, fmt.Errorf("%w, revision %d", errLogRevision, log[0])
	}
	if len(log) == 0 || log[0] != logRevision {
		return nil, false, nil
	}
	plaintext, err := newAEAD(key.revocationsKey()).Open(nil, nil, log[1:], log[:1])
	if err != nil {
		return nil, false, nil //nolint:nilerr // damaged is as good as absent
	}
	r, ok = parseRevocations(plaintext)
	return r, ok, nil
}

func parseRevocations(b []byte) (r *revocations, ok bool) {
	in := reader{String: b}
	r = (&revocations{}).clone()
	r.begun = revocationCount(in.uint64())
	r.last = revocationCount(in.uint64())
	names := reader{String: in.bytes16()}
	for !names.Empty() {
		name := revokedName{property: names.uint8()}
		names.copy(name.tag[:])
		count := revocationCount(names.uint64())
		if name.property >= numProperties || count > r.last {
			return nil, false
		}
		r.counts[name] = count
	}
	if in.failed || names.failed || !in.Empty() || r.begun > r.last {
		return nil, false
	}
	r.normalize(0)
	return r, true
}
