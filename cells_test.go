package reprise

import (
	"testing"
	"unsafe"
)

func TestCellFillsCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(cell{}); size != 3*64 {
		t.Errorf("a cell has %d bytes", size)
	}
}
