package schedule

import (
	"crypto/hmac"
	"hash"
)

// Lengths in bytes.
const (
	MasterSecretLength = 48
	RandomLength       = 32
	FinishedLength     = 12
)

// A PRF is the pseudorandom function of TLS 1.2 under one secret (RFC 5246, section 5). It is not safe for
// concurrent use.
type PRF struct {
	mac hash.Hash // HMAC under the secret

	// Of the expansion under way: what a hash.Hash gets would lie on the heap anyway, each time anew.
	seed     [128]byte // the label and the seeds, unless they are longer
	a, block [64]byte
}

// NewPRF returns the PRF of a suite under secret.
func NewPRF(s *Suite, secret []byte) *PRF {
	return &PRF{mac: hmac.New(s.Hash.New, secret)}
}

// Expand fills out with PRF(secret, label, seeds): P_hash of the label and the seeds.
//
//	A(0) = label + seeds
//	A(i) = HMAC(secret, A(i-1))
//	P_hash = HMAC(secret, A(1) + label + seeds) + HMAC(secret, A(2) + label + seeds) + …
func (p *PRF) Expand(out []byte, label string, seeds ...[]byte) {
	labelAndSeeds := append(p.seed[:0], label...)
	for _, seed := range seeds {
		labelAndSeeds = append(labelAndSeeds, seed...)
	}
	p.mac.Reset()
	p.mac.Write(labelAndSeeds)
	a := p.mac.Sum(p.a[:0])
	for len(out) > 0 {
		p.mac.Reset()
		p.mac.Write(a)
		p.mac.Write(labelAndSeeds)
		out = out[copy(out, p.mac.Sum(p.block[:0])):]
		if len(out) > 0 {
			p.mac.Reset()
			p.mac.Write(a)
			a = p.mac.Sum(p.a[:0])
		}
	}
	clear(p.a[:])
	clear(p.block[:])
}

// MasterSecret returns the master secret of a premaster secret (RFC 5246, section 8.1).
func MasterSecret(s *Suite, premaster, clientRandom, serverRandom []byte) []byte {
	master := make([]byte, MasterSecretLength)
	NewPRF(s, premaster).Expand(master, "master secret", clientRandom, serverRandom)
	return master
}

// ExtendedMasterSecret returns the extended master secret of a premaster secret and the hash of the handshake up to and
// including the ClientKeyExchange (RFC 7627, section 4).
func ExtendedMasterSecret(s *Suite, premaster, sessionHash []byte) []byte {
	master := make([]byte, MasterSecretLength)
	NewPRF(s, premaster).Expand(master, "extended master secret", sessionHash)
	return master
}

// Keys are the keys of one direction.
type Keys struct {
	Key, FixedIV []byte
}

// Wipe overwrites the keys.
func (k Keys) Wipe() {
	clear(k.Key)
	clear(k.FixedIV)
}

// ConnectionKeys returns the keys that client and server write with (RFC 5246, section 6.3). master is the PRF under
// the master secret.
func ConnectionKeys(s *Suite, master *PRF, clientRandom, serverRandom []byte) (client, server Keys) {
	block := make([]byte, 2*s.KeyLength+2*s.FixedIVLength)
	master.Expand(block, "key expansion", serverRandom, clientRandom)
	next := func(n int) []byte {
		part := block[:n:n]
		block = block[n:]
		return part
	}
	client.Key, server.Key = next(s.KeyLength), next(s.KeyLength)
	client.FixedIV, server.FixedIV = next(s.FixedIVLength), next(s.FixedIVLength)
	return client, server
}

// Finished returns the verify_data of a Finished message (RFC 5246, section 7.4.9).
func Finished(master *PRF, server bool, transcriptHash []byte) [FinishedLength]byte {
	label := "client finished"
	if server {
		label = "server finished"
	}
	var verifyData [FinishedLength]byte
	master.Expand(verifyData[:], label, transcriptHash)
	return verifyData
}
