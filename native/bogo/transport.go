package main

import (
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// A byteByByte connection reads and writes one byte at a time, as BoringSSL's shim does if asked to be asynchronous.
type byteByByte struct{ net.Conn }

func (c byteByByte) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 1)]) }

func (c byteByByte) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		_, err = c.Conn.Write(b[n : n+1])
		n++
	}
	return n, err
}

// A tap is a connection that remembers the unprotected handshake messages: what the engine has no accessor for is checked by them.
type tap struct {
	net.Conn
	fromClient, fromServer messages
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.fromClient.feed(b[:n])
	return n, err
}

func (t *tap) Write(b []byte) (int, error) {
	t.fromServer.feed(b)
	return t.Conn.Write(b)
}

// drainTime is how long the runner has to close its side.
const drainTime = 5 * time.Second

// Close lets the runner read all that was sent: a reset would take away an alert.
func (t *tap) Close() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = t.SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.Copy(io.Discard, t.Conn)
	}
	return t.Conn.Close()
}

// messages are the handshake messages of one side, up to its ChangeCipherSpec.
type messages struct {
	records []byte // not yet cut
	content []byte
	over    bool
}

func (m *messages) feed(b []byte) {
	if m.over {
		return
	}
	m.records = append(m.records, b...)
	for len(m.records) >= record.HeaderLength {
		length := record.HeaderLength + int(binary.BigEndian.Uint16(m.records[3:]))
		if record.Type(m.records[0]) == record.ChangeCipherSpec {
			m.over = true
			return
		}
		if len(m.records) < length {
			return
		}
		if record.Type(m.records[0]) == record.Handshake {
			m.content = append(m.content, m.records[record.HeaderLength:length]...)
		}
		m.records = m.records[length:]
	}
}

// message returns the body of the first message of a kind, nil if there is none.
func (m *messages) message(kind wire.Kind) []byte {
	for rest := m.content; len(rest) >= wire.HeaderLength; {
		length := wire.HeaderLength + (int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3]))
		if len(rest) < length {
			return nil
		}
		if wire.Kind(rest[0]) == kind {
			return rest[wire.HeaderLength:length]
		}
		rest = rest[length:]
	}
	return nil
}
