package reprise

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// A keyedHash is HMAC-SHA-256 under one key, for many messages and goroutines. To begin with the key for each message
// would cost several times as much as a short message.
type keyedHash struct{ states sync.Pool }

// A keyedHashState is a hash with the memory that it works on.
type keyedHashState struct {
	hash.Hash
	message, sum []byte
}

func newKeyedHash(key []byte) *keyedHash {
	return &keyedHash{sync.Pool{New: func() any { return &keyedHashState{Hash: hmac.New(sha256.New, key)} }}}
}

// sum returns the hash of a message that is given in parts.
func (k *keyedHash) sum(parts ...[]byte) (sum [sha256.Size]byte) {
	s := k.states.Get().(*keyedHashState)
	defer k.states.Put(s)
	s.message = s.message[:0]
	for _, part := range parts {
		s.message = append(s.message, part...)
	}
	s.Reset()
	s.Write(s.message)
	s.sum = s.Sum(s.sum[:0])
	sum = [sha256.Size]byte(s.sum)
	clear(s.sum) // it may be a key
	return sum
}
