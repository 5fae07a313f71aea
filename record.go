package reprise

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A sealed record is a session as it lies in a store, in the language of RFC 8446, section 3. Times are in
// milliseconds since the Unix epoch.
//
//	struct {
//	    uint8 revision = 1;
//	    uint64 created;
//	    uint64 expiry;
//	    uint64 incarnation;
//	    opaque scope_tag[8];
//	    opaque lineage_tag[8];
//	    opaque server_name_tag[8];
//	    opaque certificate_tag[8];
//	    Extension extensions<0..2^16-1>;
//	} RecordHeader;
//
//	struct {
//	    RecordHeader header;
//	    opaque nonce[12];
//	    opaque sealed_session[RecordLength - 12 - HeaderLength];
//	} Record;
//
// sealed_session is the encoding of the session (encoding.go) under AES-256-GCM with a random nonce and the header as
// additional data. The key is derived from the fleet key and the session ID, so that a record opens under the ID that it was
// made for and no other. The header is for tools and revocation, which have no IDs; no session is judged by it.
//
// The format grows by extensions of the header, by the rule of the session's; anything else needs a new revision.
const recordRevision = 1

// errRecord is wrapped by every error about a record.
var errRecord = errors.New("reprise: bad record")

// A RecordHeader is the part of a record that can be read without the session ID. It is as trustworthy as the store: only
// with the ID can it be told whether it was changed.
type RecordHeader struct {
	// Created is when the session was made, Expiry the last moment at which it resumes, with a resolution of a millisecond.
	Created, Expiry time.Time
	// Incarnation is that of the store when the record was made (see [Incarnated]).
	Incarnation uint64
	// Scope, Lineage, ServerName and ClientCertificate are tags of the session's scope, lineage, server name and
	// client certificate (the leaf, in DER).
	Scope, Lineage, ServerName, ClientCertificate RecordTag
}

// A RecordTag stands for a property of a session: an HMAC under a key derived from the fleet key. Records made under one
// fleet key have equal tags where their sessions have the property in common; without that key a tag says nothing
// else. The zero tag says that the session has no such property.
type RecordTag [8]byte

// String returns the tag in hexadecimal.
func (t RecordTag) String() string { return hex.EncodeToString(t[:]) }

// ParseRecordHeader reads the header of a record. It does not tell whether the record is genuine.
func ParseRecordHeader(record []byte) (RecordHeader, error) {
	header, _, err := splitRecord(record)
	return header, err
}

// splitRecord reads the header of a record and returns how long it is.
func splitRecord(record []byte) (header RecordHeader, length int, err error) {
	r := reader{String: record}
	if revision := r.uint8(); revision != recordRevision || len(record) > MaxRecordLength {
		return header, 0, fmt.Errorf("%w: revision %d of %d bytes", errRecord, revision, len(record))
	}
	header.Created = r.milliseconds().time()
	header.Expiry = r.milliseconds().time()
	r.check(r.ReadUint64(&header.Incarnation))
	r.copy(header.Scope[:])
	r.copy(header.Lineage[:])
	r.copy(header.ServerName[:])
	r.copy(header.ClientCertificate[:])
	extensions := r.bytes16()
	if r.failed {
		return RecordHeader{}, 0, fmt.Errorf("%w: truncated", errRecord)
	}
	if err := parseExtensions(extensions, noExtension); err != nil {
		return RecordHeader{}, 0, fmt.Errorf("%w: %w", errRecord, err)
	}
	return header, len(record) - len(r.String), nil
}

// noExtension: none of a header is known yet.
func noExtension(uint16, []byte) (known bool, err error) { return false, nil }

// seal makes the record of a session under the key and the session's ID.
func (key *fleetKey) seal(s *Session, incarnation uint64) []byte {
	memory := plaintexts.Get().(*[]byte)
	defer plaintexts.Put(memory)
	*memory = slices.Grow((*memory)[:0], s.encodedLength()) // now it never grows, so no copy of the secret is left behind
	plaintext := s.appendEncoded(*memory)
	defer clear(plaintext)
	record := make([]byte, 0, s.recordLength())
	record = key.appendRecordHeader(record, s, incarnation)
	return key.aead(s.id).Seal(record, nil, plaintext, record)
}

// recordLength returns the length of the record of a session; [NewSession] sees to it that it is [MaxRecordLength] at most.
func (s *Session) recordLength() int { return recordHeaderLength + recordOverhead + s.encodedLength() }

// recordOverhead is the length of the nonce and of the tag of AES-GCM.
const recordOverhead = 12 + 16

// plaintexts are buffers to encode sessions in, cleared.
var plaintexts = sync.Pool{New: func() any { return new([]byte) }}

// open returns the session of a record that was sealed under the key and id. Any other bytes are an error: it neither
// panics nor allocates much more than the record is long.
func (key *fleetKey) open(id SessionID, record []byte) (*Session, RecordHeader, error) {
	header, length, err := splitRecord(record)
	if err != nil {
		return nil, header, err
	}
	memory := plaintexts.Get().(*[]byte)
	defer plaintexts.Put(memory)
	*memory = slices.Grow((*memory)[:0], len(record)-length)
	plaintext, err := key.aead(id).Open(*memory, nil, record[length:], record[:length])
	if err != nil {
		return nil, header, fmt.Errorf("%w: damaged, or of another session or fleet key", errRecord)
	}
	defer clear(plaintext)
	s, err := ParseSession(plaintext)
	if err == nil && s.id != id {
		err = fmt.Errorf("%w: of another session", errRecord)
	}
	if err != nil {
		return nil, header, err
	}
	return s, header, nil
}

// aead returns the cipher for the record of the session id. It makes the nonces and puts them before the ciphertext.
func (key *fleetKey) aead(id SessionID) cipher.AEAD { return newAEAD(key.sealingKey(id)) }

func newAEAD(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // not with a key of 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // not with AES
	}
	return aead
}

func (key *fleetKey) appendRecordHeader(h []byte, s *Session, incarnation uint64) []byte {
	h = append(h, recordRevision)
	h = binary.BigEndian.AppendUint64(h, uint64(s.created))
	h = binary.BigEndian.AppendUint64(h, uint64(s.expiry()))
	h = binary.BigEndian.AppendUint64(h, incarnation)
	tags, lineage := key.tagsOf(s), key.recordTag(tagLineage, s.lineage.id[:])
	h = append(h, tags.scope[:]...)
	h = append(h, lineage[:]...)
	h = append(h, tags.serverName[:]...)
	h = append(h, tags.certificate[:]...)
	return append(h, 0, 0) // no extensions
}

// profileTags are the tags under a fleet key of what sessions of a profile have in common.
type profileTags struct {
	key                            string // its name
	scope, serverName, certificate RecordTag
}

// tagsOf returns those of a session. They are kept for the next one of its profile.
func (key *fleetKey) tagsOf(s *Session) *profileTags {
	if tags := s.profile.tags.Load(); tags != nil && tags.key == key.name {
		return tags
	}
	tags := &profileTags{
		key:         key.name,
		scope:       key.recordTag(tagScope, s.profile.scope[:]),
		serverName:  key.recordTag(tagServerName, []byte(s.profile.serverName)),
		certificate: key.recordTag(tagCertificate, s.leaf()),
	}
	s.profile.tags.Store(tags)
	return tags
}

// recordHeaderLength is the length of a header without extensions.
const recordHeaderLength = 1 + 3*8 + 4*len(RecordTag{}) + 2

// What a tag is of is its first byte under the HMAC. The last two are of revocations and in no header.
const (
	tagScope = 1 + iota
	tagLineage
	tagServerName
	tagCertificate
	tagFingerprint
	tagContext

	numProperties
)

func (key *fleetKey) recordTag(property byte, value []byte) (tag RecordTag) {
	if len(value) > 0 {
		sum := key.tags.sum([]byte{property}, value)
		copy(tag[:], sum[:])
	}
	return tag
}

// leaf returns the client certificate, nil if there is none.
func (s *Session) leaf() []byte {
	if !s.HasPeerCertificates() {
		return nil
	}
	return s.PeerCertificates()[0]
}
