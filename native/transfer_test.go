package native_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// period is as long as no other length here, so that data which is out of place is not as it should be.
var period = func() []byte {
	b := make([]byte, 1_000_003)
	rand.Read(b)
	return b
}()

// pattern is data without end.
type pattern struct{ at int }

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, period[p.at:])
	p.at = (p.at + n) % len(period)
	return n, nil
}

// An expectation is a writer that wants the pattern.
type expectation struct{ pattern }

func (e *expectation) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(len(b), n+len(period)-e.at)]
		if !bytes.Equal(part, period[e.at:e.at+len(part)]) {
			return n, errors.New("not what was sent")
		}
		n += len(part)
		e.at = (e.at + len(part)) % len(period)
	}
	return n, nil
}

// sized writes in parts of different sizes, as applications do.
type sized struct {
	w     io.Writer
	sizes []int
	turn  int
}

func (s *sized) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		part := b[n:min(len(b), n+s.sizes[s.turn%len(s.sizes)])]
		s.turn++
		var written int
		written, err = s.w.Write(part)
		n += written
	}
	return n, err
}

// TestTransfer moves 100 MB both ways at once.
func TestTransfer(t *testing.T) {
	const total = 100 << 20
	client, server, _ := established(t, newCache(t, reprise.Options{}))
	var all sync.WaitGroup
	for _, conn := range []net.Conn{client, server} {
		all.Go(func() {
			sizes := []int{1, 1 << 14, 100, 1<<14 + 1, 1 << 16, 5000, 200_000}
			if _, err := io.CopyBuffer(&sized{w: conn, sizes: sizes}, io.LimitReader(&pattern{}, total), make([]byte, 1<<19)); err != nil {
				t.Errorf("writing to %T: %v", conn, err)
			}
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Errorf("%T: %v", conn, err)
			}
		})
		all.Go(func() {
			want := &expectation{}
			if n, err := io.Copy(struct{ io.Writer }{want}, struct{ io.Reader }{conn}); err != nil || n != total {
				t.Errorf("reading from %T: %d bytes, %v", conn, n, err)
			}
		})
	}
	all.Wait()
}

// byteConn reads and writes single bytes.
type byteConn struct{ net.Conn }

func (c byteConn) Read(b []byte) (int, error) { return iotest.OneByteReader(c.Conn).Read(b) }

func (c byteConn) Write(b []byte) (n int, err error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// TestByteByByte: the handshake and the data come in single bytes, and are read and written in single bytes.
func TestByteByByte(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	client := tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	server := native.Server(byteConn{b}, &tls.Config{Certificates: []tls.Certificate{certificate}}, newCache(t, reprise.Options{}))
	message := make([]byte, 1000)
	_, _ = new(pattern).Read(message)
	go func() {
		defer server.Close()
		one := make([]byte, 1)
		for {
			if _, err := server.Read(one); err != nil {
				return
			}
			if _, err := server.Write(one); err != nil {
				t.Errorf("server: %v", err)
				return
			}
		}
	}()
	go func() {
		_, _ = (&sized{w: client, sizes: []int{1}}).Write(message) // the echo tells
		_ = client.CloseWrite()
	}()
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, message) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

// A tamperer is a connection that changes what is written to it, one record at a time.
type tamperer struct {
	net.Conn
	change func(record []byte) [][]byte // nil: pass on
	number int
}

func (c *tamperer) Write(b []byte) (int, error) {
	if c.change == nil {
		return c.Conn.Write(b)
	}
	for _, record := range c.change(b) {
		if _, err := c.Conn.Write(record); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// TestTamperedRecords: a record that is not the next one, as it was sent, ends the connection; what came before is read.
func TestTamperedRecords(t *testing.T) {
	var held []byte
	flip := func(at int) func([]byte) []byte {
		return func(record []byte) []byte {
			changed := bytes.Clone(record)
			changed[(at+len(record))%len(record)] ^= 1
			return changed
		}
	}
	second := func(change func(record []byte) []byte) func(int, []byte) [][]byte {
		return func(number int, record []byte) [][]byte {
			if number == 1 {
				record = change(record)
			}
			return [][]byte{record}
		}
	}
	for _, test := range []struct {
		name   string
		change func(number int, record []byte) [][]byte // of the records one, two, three
		alert  string
		read   string
	}{
		{"bad MAC", second(flip(-1)), "bad record MAC", "one"},
		{"bad ciphertext", second(flip(14)), "bad record MAC", "one"},
		{"bad nonce", second(flip(6)), "bad record MAC", "one"},
		{"other type", second(func(record []byte) []byte { return append([]byte{alertRecord}, record[1:]...) }), "bad record MAC", "one"},
		{"reordered", func(number int, record []byte) [][]byte {
			switch number {
			case 0:
				held = bytes.Clone(record)
				return nil
			case 1:
				return [][]byte{record, held}
			}
			return [][]byte{record}
		}, "bad record MAC", ""},
		{"repeated", func(_ int, record []byte) [][]byte { return [][]byte{record, record} }, "bad record MAC", "one"},
		{"removed", func(number int, record []byte) [][]byte {
			if number == 1 {
				return nil
			}
			return [][]byte{record}
		}, "bad record MAC", "one"},
		{"too long", second(func([]byte) []byte { return append([]byte{applicationData, 3, 3, 0x48, 0x01}, make([]byte, 0x4801)...) }), "record overflow", "one"},
		{"content too long", second(func([]byte) []byte { return append([]byte{applicationData, 3, 3, 0x40, 0x19}, make([]byte, 0x4019)...) }), "record overflow", "one"},
		{"too short", second(func([]byte) []byte { return plainRecord(applicationData, make([]byte, 23)...) }), "bad record MAC", "one"},
		{"of another version", second(func(record []byte) []byte { return append([]byte{applicationData, 3, 1}, record[3:]...) }), "protocol version not supported", "one"},
		{"of unknown type", second(func(record []byte) []byte { return append([]byte{99}, record[1:]...) }), "unexpected message", "one"},
		{"in clear", second(func([]byte) []byte { return plainRecord(applicationData, []byte("two")...) }), "bad record MAC", "one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := newCache(t, reprise.Options{})
			below, client, server := tampered(t, cache)
			below.change = func(record []byte) [][]byte {
				defer func() { below.number++ }()
				return test.change(below.number, record)
			}
			for _, message := range []string{"one", "two", "three"} {
				if _, err := io.WriteString(client, message); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(server)
			if string(got) != test.read || err == nil {
				t.Errorf("the server has read %q, %v; want %q and an error", got, err, test.read)
			}
			if _, again := server.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("reading again: %v, want %v", again, err)
			}
			if _, err := server.Write([]byte("more")); err == nil {
				t.Error("Write succeeded after a fatal alert")
			}
			if _, err := client.Read(make([]byte, 1)); err == nil || err.Error() != "remote error: tls: "+test.alert {
				t.Errorf("the client has read %v, want the alert %s", err, test.alert)
			}
			server.Close()
			if n := cache.Stats().Number; n != 0 {
				t.Errorf("%d sessions after a fatal alert", n)
			}
		})
	}
}

// tampered returns both ends of a connection after its handshake, and what is below the client.
func tampered(t *testing.T, cache *reprise.Cache) (below *tamperer, client *tls.Conn, server *native.Conn) {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	below = &tamperer{Conn: a}
	client = tls.Client(below, &tls.Config{
		RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	server = native.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return below, client, server
}

// TestReadDeadline passes, and reading goes on.
func TestReadDeadline(t *testing.T) {
	client, server, _ := established(t, newCache(t, reprise.Options{}))
	// Half a record is there when it passes.
	if _, err := client.NetConn().Write([]byte{applicationData, 3, 3, 0}); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	for range 2 {
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read: %v, want %v", err, os.ErrDeadlineExceeded)
		}
	}
	_ = server.SetReadDeadline(time.Time{})
	if _, err := client.NetConn().Write(append([]byte{40}, make([]byte, 40)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read of the whole record, which does not open: %v", err)
	}
}

// TestWriteDeadline passes, and then nothing more is written: nobody knows how much of a record has gone.
func TestWriteDeadline(t *testing.T) {
	_, server, _ := established(t, newCache(t, reprise.Options{}))
	_ = server.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	var err error
	for err == nil { // until the buffers are full
		_, err = server.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	_ = server.SetWriteDeadline(time.Time{})
	if _, again := server.Write([]byte("more")); !errors.Is(again, os.ErrDeadlineExceeded) {
		t.Errorf("Write after that: %v, want the same error", again)
	}
}

// TestHalfClose: each side can end what it sends, and go on reading.
func TestHalfClose(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	client, server, _ := established(t, cache)
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || len(got) > 0 {
		t.Errorf("the client has read %q, %v", got, err)
	}
	if _, err := server.Write([]byte("more")); err == nil {
		t.Error("Write succeeded after CloseWrite")
	}
	go func() {
		_, _ = io.WriteString(client, "still here")
		_ = client.CloseWrite()
	}()
	if got, err := io.ReadAll(server); err != nil || string(got) != "still here" {
		t.Errorf("the server has read %q, %v", got, err)
	}
	client, server, _ = established(t, cache)
	_ = client.CloseWrite()
	if got, err := io.ReadAll(server); err != nil || len(got) > 0 {
		t.Errorf("the server has read %q, %v", got, err)
	}
	go func() {
		_, _ = io.WriteString(server, "answer")
		_ = server.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("the client has read %q, %v", got, err)
	}
	a, b := tcpPair(t)
	defer a.Close()
	if err := native.Server(b, &tls.Config{}, cache).CloseWrite(); err == nil {
		t.Error("CloseWrite succeeded before the handshake")
	}
}

// TestCloseUnblocks reads and writes that wait.
func TestCloseUnblocks(t *testing.T) {
	_, server, _ := established(t, newCache(t, reprise.Options{}))
	ended := make(chan error, 2)
	go func() {
		_, err := server.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		var err error
		for err == nil {
			_, err = server.Write(make([]byte, 1<<20))
		}
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want %v", err, net.ErrClosed)
		}
	}
	if err := server.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close again: %v, want %v", err, net.ErrClosed)
	}
}
