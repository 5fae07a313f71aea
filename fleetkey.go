package reprise

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// FleetKeyLength is the length in bytes of a fleet key.
const FleetKeyLength = 32

// sessionIDRandom is how many random bytes a session ID begins with; its tag follows.
const (
	sessionIDRandom = 24
	sessionIDTag    = MaxSessionIDLength - sessionIDRandom
)

// FleetKeys are the secrets that the nodes of a fleet share: the current fleet key, the previous ones, and perhaps a next
// one. From the current key come the IDs and the sealed records of new sessions; sessions of the previous ones resume until
// their time is up. A next key is accepted already and not used yet: a key must be known everywhere before any node
// makes sessions under it. Which key is current is therefore a matter of time.
//
// They are made by [LoadFleetKeys] and its like; the zero value has no key, and every cache refuses it. FleetKeys are
// immutable and may be used from many goroutines. They never print their keys.
type FleetKeys struct {
	_       [0]func()
	keys    []*fleetKey // the last to become current first
	private bool        // made by [New] because there were none: nobody else has them, and they go with the process
}

// A fleetKey holds what is derived from one fleet key, by HKDF with a label each.
type fleetKey struct {
	currentFrom time.Time  // zero: from the beginning
	idTag       *keyedHash // makes the tag of an ID
	store       *keyedHash // expands to store keys
	sealing     *keyedHash // expands to sealing keys
	tags        *keyedHash // makes the tags in a record's header
	client      *keyedHash // makes the IDs of client sessions
	revocations *keyedHash // makes the key and the place of what was revoked
	name        string
}

// NewFleetKeys derives fleet keys from secrets of [FleetKeyLength] bytes each, the current one first.
func NewFleetKeys(current []byte, previous ...[]byte) (*FleetKeys, error) {
	k := &FleetKeys{}
	for _, secret := range append([][]byte{current}, previous...) {
		key, err := newFleetKey(secret, time.Time{})
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// RandomFleetKeys makes a fleet key that lives as long as the process: for a cache that shares its sessions with
// nobody and does not keep them.
func RandomFleetKeys() *FleetKeys {
	secret := make([]byte, FleetKeyLength)
	rand.Read(secret)
	k, err := NewFleetKeys(secret)
	if err != nil {
		panic(err) // not with a secret of the right length
	}
	return k
}

func newFleetKey(secret []byte, currentFrom time.Time) (*fleetKey, error) {
	if len(secret) != FleetKeyLength {
		return nil, fmt.Errorf("reprise: fleet key of %d bytes, must be %d", len(secret), FleetKeyLength)
	}
	var derived [7][]byte
	for i, label := range []string{"id tag", "store", "seal", "header tags", "client id", "name", "revocations"} {
		var err error
		if derived[i], err = hkdf.Key(sha256.New, secret, nil, "reprise "+label, sha256.Size); err != nil {
			return nil, fmt.Errorf("reprise: fleet key: %w", err)
		}
	}
	return &fleetKey{
		currentFrom: currentFrom,
		idTag:       newKeyedHash(derived[0]),
		store:       newKeyedHash(derived[1]),
		sealing:     newKeyedHash(derived[2]),
		tags:        newKeyedHash(derived[3]),
		client:      newKeyedHash(derived[4]),
		name:        hex.EncodeToString(derived[5][:6]),
		revocations: newKeyedHash(derived[6]),
	}, nil
}

// check returns an error if there is no key.
func (k *FleetKeys) check() error {
	if k == nil || len(k.keys) == 0 {
		return errors.New("reprise: fleet keys without a key; make them with LoadFleetKeys or NewFleetKeys")
	}
	return nil
}

// without returns those of the keys that others do not have.
func (k *FleetKeys) without(others *FleetKeys) *FleetKeys {
	rest := &FleetKeys{}
	for _, key := range k.keys {
		if !slices.ContainsFunc(others.keys, func(other *fleetKey) bool { return other.name == key.name }) {
			rest.keys = append(rest.keys, key)
		}
	}
	return rest
}

// A FleetKeyInfo tells a fleet key from others, without the key.
type FleetKeyInfo struct {
	// Name is 12 hex digits derived from the key, which tell nothing about it. Nodes with the same key show the same name.
	Name string
	// CurrentFrom is when the key becomes, or became, the current one; the zero time for a key that always was.
	CurrentFrom time.Time
	// State is "next", "current" or "previous".
	State string
}

// Info describes the keys as they are at the time given: next ones, the current one, previous ones.
func (k *FleetKeys) Info(now time.Time) []FleetKeyInfo {
	if k.check() != nil {
		return nil
	}
	current := slices.Index(k.keys, k.current(now))
	info := make([]FleetKeyInfo, len(k.keys))
	for i, key := range k.keys {
		info[i] = FleetKeyInfo{Name: key.name, CurrentFrom: key.currentFrom, State: "current"}
		switch {
		case i < current:
			info[i].State = "next"
		case i > current:
			info[i].State = "previous"
		}
	}
	return info
}

// String returns a placeholder.
func (k *FleetKeys) String() string { return fmt.Sprintf("FleetKeys(%d)", len(k.keys)) }

// Format writes the placeholder of [FleetKeys.String] for every verb, also for FleetKeys that are not pointed to.
func (k FleetKeys) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue implements [slog.LogValuer] with [FleetKeys.String].
func (k *FleetKeys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// current returns the key that new sessions are made under: the last that has become current, or, if none has, the first that will.
func (k *FleetKeys) current(now time.Time) *fleetKey {
	for _, key := range k.keys {
		if !key.currentFrom.After(now) {
			return key
		}
	}
	return k.keys[len(k.keys)-1]
}

// newID makes a session ID under the key: 24 random bytes and their 8-byte tag.
func (key *fleetKey) newID() SessionID {
	id := SessionID{length: MaxSessionIDLength}
	rand.Read(id.bytes[:sessionIDRandom])
	key.tag(&id)
	return id
}

// keyOf returns the key that made id, nil if none of the keys did: then the ID is foreign or forged.
func (k *FleetKeys) keyOf(id SessionID) *fleetKey {
	if made := k.made(id); made != nil {
		return made[0]
	}
	return nil
}

// made returns the one key that made id, as a slice, nil if none did.
func (k *FleetKeys) made(id SessionID) []*fleetKey {
	if id.length != MaxSessionIDLength {
		return nil
	}
	for i, key := range k.keys {
		if tag := key.tagOf(&id); hmac.Equal(id.bytes[sessionIDRandom:], tag[:]) {
			return k.keys[i : i+1]
		}
	}
	return nil
}

// handleKey returns the key under which the handle of id is made: the one that made the ID, else the current one.
func (k *FleetKeys) handleKey(id SessionID, now time.Time) *fleetKey {
	if key := k.keyOf(id); key != nil {
		return key
	}
	return k.current(now)
}

// tag writes the tag of an ID behind its random part.
func (key *fleetKey) tag(id *SessionID) {
	tag := key.tagOf(id)
	copy(id.bytes[sessionIDRandom:], tag[:])
}

func (key *fleetKey) tagOf(id *SessionID) [sessionIDTag]byte {
	sum := key.idTag.sum(id.bytes[:sessionIDRandom])
	return [sessionIDTag]byte(sum[:])
}

// storeKey returns the key under which a store keeps the session id.
func (key *fleetKey) storeKey(id SessionID) StoreKey {
	return StoreKey(expand(key.store, &id))
}

// sealingKey returns the AES-256 key that seals the record of the session id.
func (key *fleetKey) sealingKey(id SessionID) [32]byte {
	return expand(key.sealing, &id)
}

// revocationsPlace returns the key under which a store keeps what was revoked.
func (key *fleetKey) revocationsPlace() StoreKey {
	return StoreKey(key.revocations.sum([]byte("place")))
}

// revocationsKey returns the AES-256 key that seals it.
func (key *fleetKey) revocationsKey() [32]byte {
	return key.revocations.sum([]byte("seal"))
}

// expand is HKDF-Expand to 32 bytes with the ID as its info (RFC 5869, section 2.3).
func expand(pseudorandomKey *keyedHash, id *SessionID) [32]byte {
	return pseudorandomKey.sum(id.bytes[:id.length], []byte{1})
}
