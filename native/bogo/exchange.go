package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/reprise-tls/reprise/native"
)

// readSize is how much is read at once: less than a record may hold.
const readSize = 512

// exchange does what a test asks for on a connection.
func (c *connection) exchange(conn *native.Conn) error {
	if !c.implicitHandshake {
		if err := c.handshake(conn); err != nil {
			return err
		}
	}
	if err := c.talk(conn); err != nil {
		return err
	}
	if !c.shimShutsDown {
		return nil // the runner has ended the stream, and may be gone
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if !c.checkCloseNotify {
		return nil
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return err
	}
	return c.checkEnd(conn)
}

func (c *connection) handshake(conn *native.Conn) error {
	if err := conn.Handshake(); err != nil {
		return err
	}
	if c.noOpExtraHandshake {
		if err := conn.Handshake(); err != nil {
			return fmt.Errorf("bogo: a second call of Handshake: %w", err)
		}
	}
	return c.check(conn)
}

// talk writes keying material if the test asks for that, and echoes what comes, inverted, until the end of the stream.
func (c *connection) talk(conn *native.Conn) error {
	if c.exportLength > 0 {
		if err := c.export(conn); err != nil {
			return err
		}
	}
	if c.shimShutsDown {
		return nil
	}
	return c.echo(conn)
}

func (c *connection) echo(conn *native.Conn) error {
	buffer := make([]byte, readSize)
	for first := true; ; first = false {
		n, err := conn.Read(buffer)
		if first && c.implicitHandshake && n > 0 {
			if err := c.check(conn); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return c.checkEnd(conn)
		}
		if err != nil {
			return err
		}
		for i := range buffer[:n] {
			buffer[i] ^= 0xff
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

// checkEnd checks how the stream has ended.
func (c *connection) checkEnd(conn *native.Conn) error {
	if c.checkCloseNotify && !conn.CloseNotifyReceived() {
		return errors.New("bogo: the stream ended without close_notify")
	}
	return nil
}

// export sends keying material to the runner.
func (c *connection) export(conn *native.Conn) error {
	material, err := conn.ExportKeyingMaterial(c.exportLabel, nil, c.exportLength)
	if err != nil {
		return err
	}
	_, err = conn.Write(material)
	return err
}
