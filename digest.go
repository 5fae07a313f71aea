package reprise

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// A digest is SHA-256 over parts of which each has its length before it, so that no two lists of parts digest alike.
type digest struct {
	hash hash.Hash
}

// newDigest begins a digest for one purpose.
func newDigest(purpose string) digest {
	d := digest{sha256.New()}
	d.part([]byte(purpose))
	return d
}

func (d digest) number(n int) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	d.hash.Write(b[:])
}

func (d digest) part(v []byte) {
	d.number(len(v))
	d.hash.Write(v)
}

func (d digest) parts(vs [][]byte) {
	d.number(len(vs))
	for _, v := range vs {
		d.part(v)
	}
}

func (d digest) sum() [sha256.Size]byte { return [sha256.Size]byte(d.hash.Sum(nil)) }
