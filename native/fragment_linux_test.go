package native

import (
	"os"
	"runtime/debug"
	"syscall"
	"testing"
)

// TestFragmentsAreNotMoved: of a message that comes in single bytes, none is written to memory twice, or the work would grow with
// the square of its length. What has come is made read-only here, page by page.
func TestFragmentsAreNotMoved(t *testing.T) {
	memory, err := syscall.Mmap(-1, 0, maxCertificateMessage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(memory); err != nil {
			t.Error(err)
		}
	}()
	e := &engine{state: &expectCertificate{}, partial: memory[:0]}
	header := []byte{11, (maxCertificateMessage - 4) >> 16, (maxCertificateMessage - 4) >> 8 & 0xff, (maxCertificateMessage - 4) & 0xff}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("after %d bytes: %v", len(e.partial), fault)
		}
	}()
	for i := range maxCertificateMessage - 1 { // the last one is missing
		fragment := []byte{0}
		if i < len(header) {
			fragment[0] = header[i]
		}
		if err := e.handleFragment(fragment); err != nil {
			t.Fatal(err)
		}
		if length := i + 1; length%os.Getpagesize() == 0 {
			if err := syscall.Mprotect(memory[:length], syscall.PROT_READ); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(e.partial) != maxCertificateMessage-1 || &e.partial[0] != &memory[0] {
		t.Errorf("%d bytes are kept, in memory of their own", len(e.partial))
	}
}
