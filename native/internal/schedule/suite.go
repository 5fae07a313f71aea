// Package schedule derives the keys of a TLS connection: the PRF of TLS 1.2 and what is made with it (RFC 5246, sections
// 5, 6.3 and 8.1; RFC 7627; RFC 5705).
package schedule

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384
	"crypto/tls"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// A Suite is a cipher suite of TLS 1.2: ECDHE and an AEAD.
type Suite struct {
	ID uint16
	// Hash is that of the PRF and of the handshake transcript.
	Hash crypto.Hash
	// ECDSA tells that the server signs with ECDSA or Ed25519, and not with RSA.
	ECDSA bool
	// KeyLength and FixedIVLength are how many bytes of the key block each side takes (RFC 5246, section 6.3).
	KeyLength, FixedIVLength int
	// ExplicitNonce tells that each record carries 8 bytes of its nonce (RFC 5288); else the nonce is the IV combined with the
	// sequence number (RFC 7905).
	ExplicitNonce bool

	newAEAD func(key []byte) (cipher.AEAD, error)
}

// AEAD returns the suite's cipher under key.
func (s *Suite) AEAD(key []byte) cipher.AEAD {
	aead, err := s.newAEAD(key)
	if err != nil {
		panic(fmt.Sprintf("schedule: key of %d bytes for suite %#04x: %v", len(key), s.ID, err))
	}
	return aead
}

// suites are all suites of TLS 1.2 that have forward secrecy and an AEAD.
var suites = []*Suite{
	aesGCM(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, crypto.SHA256, 16, true),
	aesGCM(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, crypto.SHA256, 16, false),
	aesGCM(tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, crypto.SHA384, 32, true),
	aesGCM(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, crypto.SHA384, 32, false),
	chaCha20Poly1305(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, true),
	chaCha20Poly1305(tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, false),
}

func aesGCM(id uint16, hash crypto.Hash, keyLength int, ecdsa bool) *Suite {
	return &Suite{
		ID: id, Hash: hash, ECDSA: ecdsa, KeyLength: keyLength, FixedIVLength: 4, ExplicitNonce: true,
		newAEAD: func(key []byte) (cipher.AEAD, error) {
			block, err := aes.NewCipher(key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCM(block)
		},
	}
}

func chaCha20Poly1305(id uint16, ecdsa bool) *Suite {
	return &Suite{
		ID: id, Hash: crypto.SHA256, ECDSA: ecdsa, KeyLength: chacha20poly1305.KeySize,
		FixedIVLength: chacha20poly1305.NonceSize, newAEAD: chacha20poly1305.New,
	}
}

// SuiteByID returns a suite, nil if it is not one of ours.
func SuiteByID(id uint16) *Suite {
	for _, s := range suites {
		if s.ID == id {
			return s
		}
	}
	return nil
}
