package pebblestore

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/reprise-tls/reprise"
)

const (
	recordPrefix  = 'r'
	entryRevision = 1
	entryHeader   = 1 + 8
)

// An entry is what the store keeps under a key. The zero value is that of an absent record.
type entry struct {
	record []byte
	expiry int64 // milliseconds since 1970
}

// marshal returns the entry as it stands in the database: revision, expiry, record.
func (e entry) marshal() []byte { return e.appendTo(make([]byte, 0, entryHeader+len(e.record))) }

func (e entry) appendTo(b []byte) []byte {
	b = append(b, entryRevision)
	b = binary.BigEndian.AppendUint64(b, uint64(e.expiry))
	return append(b, e.record...)
}

// unmarshal returns the entry that b stands for. The record is part of b. Of what it cannot read, it makes the zero
// entry: a damaged record is absent.
func unmarshal(b []byte) entry {
	if len(b) <= entryHeader || b[0] != entryRevision {
		return entry{}
	}
	return entry{record: b[entryHeader:], expiry: int64(binary.BigEndian.Uint64(b[1:]))}
}

func (e entry) alive(now time.Time) bool { return now.UnixMilli() < e.expiry }

func (e entry) expires() time.Time { return time.UnixMilli(e.expiry) }

// expiryAfter returns the time when a record expires that is put now, rounded up to milliseconds.
func expiryAfter(now time.Time, lifetime time.Duration) int64 {
	const round = time.Millisecond - 1
	if lifetime > math.MaxInt64-round {
		lifetime = math.MaxInt64 - round
	}
	return now.Add(lifetime + round).UnixMilli()
}

// makeKey returns the key of a record in the database.
func makeKey(key reprise.StoreKey) []byte { return appendKey(nil, key) }

func appendKey(b []byte, key reprise.StoreKey) []byte {
	return append(append(b, recordPrefix), key[:]...)
}

// storeKey is the reverse of makeKey. ok is false for keys that are not those of records.
func storeKey(b []byte) (key reprise.StoreKey, ok bool) {
	if len(b) != 1+len(key) || b[0] != recordPrefix {
		return key, false
	}
	return reprise.StoreKey(b[1:]), true
}
