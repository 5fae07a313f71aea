// Package readbuffer lends memory to read a connection into: each needs some, most of them for a short time.
package readbuffer

import "sync"

// Size is the length in bytes of a buffer: a flight of a TLS handshake fits, and so does a small request.
const Size = 4 << 10

var pool = sync.Pool{New: func() any { return new([Size]byte) }}

// Get returns an empty slice with a capacity of [Size].
func Get() []byte { return pool.Get().(*[Size]byte)[:0] }

// Put takes back a slice of [Get], or another, which it leaves alone. Nobody may use it any more. It overwrites what was read.
func Put(b []byte) {
	if cap(b) != Size {
		return
	}
	buffer := (*[Size]byte)(b[:Size])
	clear(buffer[:])
	pool.Put(buffer)
}
