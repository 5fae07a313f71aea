package reprise

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// FleetKeyLength is the length in bytes of a fleet key.
const FleetKeyLength = 32

// sessionIDRandom is how many random bytes a session ID begins with; its tag follows.
const (
	sessionIDRandom = 24
	sessionIDTag    = MaxSessionIDLength - sessionIDRandom
)

// FleetKeys are the secrets that the nodes of a fleet share: the current fleet key and the previous ones. From the
// current one come the IDs and the sealed records of new sessions; sessions of a previous one resume until their time
// is up. FleetKeys is immutable and may be used from many goroutines. It never prints its keys.
type FleetKeys struct {
	_    [0]func()
	keys []*fleetKey // current first, never empty
}

// A fleetKey holds what is derived from one fleet key, by HKDF with a label each.
type fleetKey struct {
	idTag []byte // key of the HMAC that makes the tag of an ID
	store []byte // pseudorandom key that store keys are expanded from
	seal  []byte // pseudorandom key that sealing keys are expanded from
	tags  []byte // key of the HMAC that makes the tags in a record's header
	name  string
}

// NewFleetKeys derives fleet keys from secrets of [FleetKeyLength] bytes each, the current one first.
func NewFleetKeys(current []byte, previous ...[]byte) (*FleetKeys, error) {
	k := &FleetKeys{}
	for _, secret := range append([][]byte{current}, previous...) {
		if len(secret) != FleetKeyLength {
			return nil, fmt.Errorf("reprise: fleet key of %d bytes, must be %d", len(secret), FleetKeyLength)
		}
		key, err := deriveFleetKey(secret)
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

func deriveFleetKey(secret []byte) (*fleetKey, error) {
	var derived [5][]byte
	for i, label := range []string{"id tag", "store", "seal", "header tags", "name"} {
		var err error
		if derived[i], err = hkdf.Key(sha256.New, secret, nil, "reprise "+label, sha256.Size); err != nil {
			return nil, fmt.Errorf("reprise: fleet key: %w", err)
		}
	}
	return &fleetKey{
		idTag: derived[0],
		store: derived[1],
		seal:  derived[2],
		tags:  derived[3],
		name:  hex.EncodeToString(derived[4][:6]),
	}, nil
}

// Names returns a name for each key, the current one first: 12 hex digits that tell keys apart and nothing about them.
func (k *FleetKeys) Names() []string {
	names := make([]string, len(k.keys))
	for i, key := range k.keys {
		names[i] = key.name
	}
	return names
}

// String returns a placeholder.
func (k *FleetKeys) String() string { return fmt.Sprintf("FleetKeys(%d)", len(k.keys)) }

// Format writes the placeholder of [FleetKeys.String] for every verb.
func (k *FleetKeys) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// newID makes a session ID under the current key: 24 random bytes and their 8-byte tag.
func (k *FleetKeys) newID() SessionID {
	id := SessionID{length: MaxSessionIDLength}
	rand.Read(id.bytes[:sessionIDRandom])
	copy(id.bytes[sessionIDRandom:], k.keys[0].tagOf(id))
	return id
}

// keyOf returns the key that made id, nil if none of the keys did: then the ID is foreign or forged.
func (k *FleetKeys) keyOf(id SessionID) *fleetKey {
	if id.length != MaxSessionIDLength {
		return nil
	}
	for _, key := range k.keys {
		if hmac.Equal(id.bytes[sessionIDRandom:], key.tagOf(id)) {
			return key
		}
	}
	return nil
}

// handleKey returns the key under which the handle of id is made: the one that made the ID, else the current one.
func (k *FleetKeys) handleKey(id SessionID) *fleetKey {
	if key := k.keyOf(id); key != nil {
		return key
	}
	return k.keys[0]
}

func (key *fleetKey) tagOf(id SessionID) []byte {
	mac := hmac.New(sha256.New, key.idTag)
	mac.Write(id.bytes[:sessionIDRandom])
	return mac.Sum(nil)[:sessionIDTag]
}

// storeKey returns the key under which a store keeps the session id.
func (key *fleetKey) storeKey(id SessionID) StoreKey {
	return StoreKey(expand(key.store, id))
}

// sealingKey returns the AES-256 key that seals the record of the session id.
func (key *fleetKey) sealingKey(id SessionID) []byte {
	return expand(key.seal, id)
}

func expand(pseudorandomKey []byte, id SessionID) []byte {
	out, err := hkdf.Expand(sha256.New, pseudorandomKey, string(id.bytes[:id.length]), 32)
	if err != nil {
		panic(errors.Join(errors.New("reprise: HKDF-Expand to 32 bytes"), err)) // only too much output fails
	}
	return out
}
