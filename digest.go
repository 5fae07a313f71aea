package reprise

import (
	"crypto/sha256"
	"encoding/binary"
)

// A digest collects what is digested by SHA-256: parts of which each has its length before it, so that no two lists of
// parts digest alike.
type digest struct {
	input []byte
}

// newDigest begins a digest for one purpose.
func newDigest(purpose string) digest {
	d := digest{make([]byte, 0, 256)} // nearly always enough, and not on the heap
	d.part([]byte(purpose))
	return d
}

func (d *digest) number(n int) { d.input = binary.BigEndian.AppendUint32(d.input, uint32(n)) }

func (d *digest) part(v []byte) {
	d.number(len(v))
	d.input = append(d.input, v...)
}

func (d *digest) parts(vs [][]byte) {
	d.number(len(vs))
	for _, v := range vs {
		d.part(v)
	}
}

func (d *digest) sum() [sha256.Size]byte { return sha256.Sum256(d.input) }
