package tlsstate

import "encoding/binary"

// A writer builds an encoding. A [cryptobyte.Builder] would allocate for each vector, and a state is written for each
// resumption.
type writer struct {
	bytes   []byte
	tooLong bool // a vector is longer than its prefix can say
}

func (w *writer) uint8(v uint8)   { w.bytes = append(w.bytes, v) }
func (w *writer) uint16(v uint16) { w.bytes = binary.BigEndian.AppendUint16(w.bytes, v) }
func (w *writer) uint32(v uint32) { w.bytes = binary.BigEndian.AppendUint32(w.bytes, v) }
func (w *writer) uint64(v uint64) { w.bytes = binary.BigEndian.AppendUint64(w.bytes, v) }

// choice writes one of two values.
func (w *writer) choice(first, other uint8, isOther bool) {
	if isOther {
		first = other
	}
	w.uint8(first)
}

// begin begins a vector with a prefix of some bytes, and returns where its content begins.
func (w *writer) begin(prefix int) (content int) {
	w.bytes = append(w.bytes, make([]byte, prefix)...)
	return len(w.bytes)
}

// end ends the vector whose content begins there.
func (w *writer) end(prefix, content int) {
	length := len(w.bytes) - content
	for i := range prefix {
		w.bytes[content-1-i] = byte(length >> (8 * i))
	}
	w.tooLong = w.tooLong || length>>(8*prefix) > 0
}

// vector writes an opaque vector.
func (w *writer) vector(prefix int, v []byte) {
	content := w.begin(prefix)
	w.bytes = append(w.bytes, v...)
	w.end(prefix, content)
}

// vectors24 writes opaque<0..2^24-1> vectors within a vector of the same length.
func (w *writer) vectors24(vectors [][]byte) {
	content := w.begin(3)
	for _, v := range vectors {
		w.vector(3, v)
	}
	w.end(3, content)
}
