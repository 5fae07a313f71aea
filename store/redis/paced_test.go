package redisstore

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/internal/certtest"
)

// countedConn counts what is read from it.
type countedConn struct {
	net.Conn
	reads atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

// pipe returns the ends of a TCP connection.
func pipe(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// TestPacedOverTLS: what has come is read in few reads, however many records it makes: else a busy fleet's notices would pile up.
func TestPacedOverTLS(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	near, far := pipe(t)
	counted := &countedConn{Conn: near}
	client := tls.Client(newPacedConn(counted), &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example"})
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}})
	sent := make(chan error, 1)
	go func() {
		notice := make([]byte, 40)
		for range 500 {
			if _, err := server.Write(notice); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	before := counted.reads.Load()
	if _, err := io.ReadFull(client, make([]byte, 500*40)); err != nil {
		t.Fatal(err)
	}
	if n := counted.reads.Load() - before; n > 20 {
		t.Errorf("%d reads for 500 records that were there", n)
	}
}

// TestPaced: what comes alone delays no read; where much comes, few reads take it.
func TestPaced(t *testing.T) {
	near, far := pipe(t)
	counted := &countedConn{Conn: near}
	reader := &pacedReader{conn: counted}
	p := make([]byte, bufferSize)
	for range 5 {
		time.Sleep(3 * busyInterval)
		if _, err := far.Write(p[:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Read(p); err != nil || reader.isBusy {
			t.Fatalf("busy: %v, error: %v", reader.isBusy, err)
		}
	}

	const many = 2000
	begun := time.Now()
	go func() {
		for range many {
			_, _ = far.Write([]byte{0})
			time.Sleep(10 * time.Microsecond)
		}
	}()
	before := counted.reads.Load()
	for got := 0; got < many; {
		n, err := reader.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if n, most := counted.reads.Load()-before, int64(time.Since(begun)/readPause)+3; n > most {
		t.Errorf("%d reads, more than %d, of %d things that came one behind the other", n, most, many)
	}
}
