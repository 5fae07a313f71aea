package listen

import (
	"testing"

	"github.com/reprise-tls/reprise/internal/readbuffer"
)

// TestReplayedMemoryIsKept: while native may still take over, nobody else may get the memory that the hello lies in.
func TestReplayedMemoryIsKept(t *testing.T) {
	for _, isOpen := range []bool{true, false} {
		returned := 0
		for range 20 { // the pool does not promise to keep what it gets
			hello := append(readbuffer.Get(readbuffer.Size), "a part of a hello"...)
			c := &choice{isOpen: isOpen, read: hello, peeked: hello}
			for b := make([]byte, 10); c.replay(b) > 0; {
			}
			if other := readbuffer.Get(readbuffer.Size); &other[:1][0] == &hello[0] {
				returned++
			}
		}
		if isOpen && returned > 0 {
			t.Errorf("memory was given to others %d times, and the choice is still open", returned)
		}
		if !isOpen && returned == 0 {
			t.Error("memory is never given back")
		}
	}
}
