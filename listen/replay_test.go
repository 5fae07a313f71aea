package listen

import (
	"crypto/tls"
	"testing"

	"github.com/reprise-tls/reprise/internal/readbuffer"
)

// TestReplayedMemoryIsKept: until crypto/tls has its hello and has read all that there is, nobody else may get the memory that it lies in.
func TestReplayedMemoryIsKept(t *testing.T) {
	for _, test := range []struct{ isClosed, isReplayed bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		returned := 0
		for range 20 { // the pool does not promise to keep what it gets
			hello := append(readbuffer.Get(readbuffer.Size), "a hello and more"...)
			c := &choice{isOpen: true, read: hello, config: new(tls.Config)}
			b := make([]byte, 10)
			c.replay(b)
			if test.isClosed {
				c.close()
			}
			if test.isReplayed {
				if rest := b[:c.replay(b)]; string(rest) != "d more" {
					t.Fatalf("%q was replayed at the end", rest)
				}
			}
			if other := readbuffer.Get(readbuffer.Size); &other[:1][0] == &hello[0] {
				returned++
			}
		}
		if wants := test.isClosed && test.isReplayed; (returned > 0) != wants {
			t.Errorf("%+v: memory was given to others %d times", test, returned)
		}
	}
}
