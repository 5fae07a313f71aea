// Package readbuffer lends memory to read connections into: each needs some, most of them for a short time.
package readbuffer

import "sync"

// Sizes in bytes.
const (
	// Size is that of the usual buffer: a flight of a TLS handshake fits, and so does a small request.
	Size = 4 << 10
	// LongSize is that of a buffer for two of the longest records that are usual, and for one of any length.
	LongSize = 33 << 10
)

var (
	short = sync.Pool{New: func() any { return new([Size]byte) }}
	long  = sync.Pool{New: func() any { return new([LongSize]byte) }}
)

// Get returns an empty slice with a capacity of [Size], or of [LongSize] if n bytes need that. What others have read may lie
// behind it.
func Get(n int) []byte {
	if n <= Size {
		return short.Get().(*[Size]byte)[:0]
	}
	return long.Get().(*[LongSize]byte)[:0]
}

// Put takes back a slice of [Get], and leaves any other alone. Nobody may use it any more.
func Put(b []byte) {
	switch cap(b) {
	case Size:
		short.Put((*[Size]byte)(b[:Size]))
	case LongSize:
		long.Put((*[LongSize]byte)(b[:LongSize]))
	}
}
