package native_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/reprise-tls/reprise"
)

// TestWriteLast: the client reads the data and the end of the stream, which came in one write for each 64 KiB, and the end is clean.
func TestWriteLast(t *testing.T) {
	for length, writes := range map[int]int32{0: 1, 1: 1, 64 << 10: 1, 64<<10 + 1: 2} {
		cache := newCache(t, reprise.Options{})
		client, server, below := established(t, cache)
		before := below.written.Load()
		failure := make(chan error, 1)
		content := bytes.Repeat([]byte{'x'}, length)
		go func() {
			n, err := server.WriteLast(content)
			if err == nil && n != length {
				err = io.ErrShortWrite
			}
			failure <- errors.Join(err, server.Close())
		}()
		got, err := io.ReadAll(client)
		if err := errors.Join(err, <-failure); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: client has read %d, %v", length, len(got), err)
		}
		if n := below.written.Load() - before; n != writes {
			t.Errorf("%d bytes: %d writes, want %d", length, n, writes)
		}
		if n := cache.Stats().Number; n != 1 {
			t.Errorf("%d bytes: %d sessions in the cache, want 1", length, n)
		}
		if _, err := server.Write([]byte("more")); err == nil {
			t.Errorf("%d bytes: Write after WriteLast returned no error", length)
		}
	}
}
