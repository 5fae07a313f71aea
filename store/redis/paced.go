package redisstore

import (
	"bufio"
	"net"
	"time"
)

const (
	// readPause is how far reads of notices lie apart at least, while many come.
	readPause = 2 * time.Millisecond
	// busyInterval is how soon after each other reads must have found something for many to be coming.
	busyInterval = 2 * readPause
)

// A pacedConn lets notices come together before it reads them, for 2 ms at most. Redis sends each put and removal in the fleet at once,
// and to wake up for each would cost ten times what it takes to look at it. What comes alone, such as the answers to this node's own puts,
// is read at once, and nobody wakes up to find nothing.
//
// It lies below TLS, which hands out one record at a time, and reads small pieces: hence the buffer.
type pacedConn struct {
	net.Conn
	buffered *bufio.Reader
}

func newPacedConn(conn net.Conn) net.Conn {
	return &pacedConn{conn, bufio.NewReaderSize(&pacedReader{conn: conn}, bufferSize)}
}

func (c *pacedConn) Read(p []byte) (int, error) { return c.buffered.Read(p) }

// A pacedReader reads the connection.
type pacedReader struct {
	conn   net.Conn
	last   time.Time // when it found something
	isBusy bool
}

func (r *pacedReader) Read(p []byte) (int, error) {
	if r.isBusy {
		time.Sleep(readPause - time.Since(r.last))
	}
	n, err := r.conn.Read(p)
	now := time.Now()
	r.isBusy = now.Sub(r.last) < busyInterval
	r.last = now
	return n, err
}
