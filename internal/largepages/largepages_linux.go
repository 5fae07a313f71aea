package largepages

import (
	"os"
	"syscall"
	"unsafe"
)

// advise is for whole pages: those that the memory begins and ends in belong to others, too.
func advise(memory []byte) {
	page := uintptr(os.Getpagesize())
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	skipped := -begin % page
	whole := (uintptr(len(memory)) - skipped) / page * page
	_ = syscall.Madvise(memory[skipped:skipped+whole], syscall.MADV_HUGEPAGE) // without them it is slower, no more
}
