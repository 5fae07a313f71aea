// Package largepages asks the system to back large tables with large pages. Where it does, a look at a random place costs one walk through
// the page tables less, nearly always, which is up to half of what it costs.
package largepages

import "unsafe"

// worthwhile is how many bytes a table must have. It is less than a large page: several that lie one behind the other share some.
const worthwhile = 256 << 10

// Advise asks for large pages for the memory of a slice, if that is large. It must hold no pointers and belong to nothing else, as the
// elements of a new slice do. The system need not comply, and nothing depends on it.
func Advise[T any](s []T) {
	length := uintptr(cap(s)) * unsafe.Sizeof(*new(T))
	if length < worthwhile {
		return
	}
	advise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), length))
}
