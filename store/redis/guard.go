package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// A guardedConn is a connection to something that may not be Redis. The client takes what it reads at its word: a length of any
// size it allocates, and an answer that nobody has asked for ends the process. So the bytes are looked at before the client gets
// them, and the connection fails at the first that Redis would not send.
type guardedConn struct {
	net.Conn
	sent     replyScanner // commands are written in the form of replies
	received replyScanner
	asked    atomic.Int64
	forget   func() bool // that the context ends
}

// newGuardedConn returns a connection that is closed when ctx is done, however long the client would wait for the server.
func newGuardedConn(ctx context.Context, conn net.Conn) *guardedConn {
	c := &guardedConn{Conn: conn}
	c.received.push = judgePush
	c.forget = context.AfterFunc(ctx, func() { conn.Close() })
	return c
}

func (c *guardedConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

func (c *guardedConn) Write(p []byte) (int, error) {
	if err := c.sent.scan(p); err != nil {
		return 0, err
	}
	c.asked.Store(c.sent.replies)
	return c.Conn.Write(p)
}

func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if scanErr := c.received.scan(p[:n]); scanErr != nil {
		return 0, scanErr
	}
	if c.received.replies > c.asked.Load() {
		return 0, fmt.Errorf("%w: an answer to nothing", errNotRedis)
	}
	return n, err
}

// judgePush returns an error about pushes that are no notices.
func judgePush(kind []byte) error {
	if string(kind) != "invalidate" {
		return fmt.Errorf("%w: a push of another kind", errNotRedis)
	}
	return nil
}

// errNotRedis is wrapped by the errors about what no Redis would send.
var errNotRedis = errors.New("not the protocol of Redis")

const (
	// maxBlob is the length of the longest string that Redis answers with: a record, or what it tells about itself.
	maxBlob = 1 << 20
	// maxElements is how many elements an array may have: the keys of a notice are the most.
	maxElements = 1 << 20
	// maxLine is the length of the longest line: that of an error.
	maxLine = 1 << 12
	// maxNesting is how deep arrays may lie in each other.
	maxNesting = 8
)

// A replyScanner finds the ends of replies in a stream of bytes (RESP3). The zero value is at the beginning of one.
type replyScanner struct {
	replies int64 // that have ended, pushes not counted
	// push is called with the first element of each push. If it is nil, there may be none.
	push func(kind []byte) error

	line   []byte // the part of a line that has come
	blob   int    // bytes of a string, and the end of its line, that are still to come
	nested []int  // how many elements of each open array are still to come
	inPush bool
	kind   []byte // of the push
	inKind bool
}

// scan reads on. After an error it must not be called again.
func (s *replyScanner) scan(p []byte) error {
	for len(p) > 0 {
		if s.blob > 0 {
			n := min(s.blob, len(p))
			if s.inKind {
				s.kind = append(s.kind, p[:n]...)
			}
			p = p[n:]
			if s.blob -= n; s.blob == 0 {
				if err := s.end(); err != nil {
					return err
				}
			}
			continue
		}
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			end = len(p)
		}
		s.line = append(s.line, p[:end]...)
		p = p[end:]
		if len(s.line) > maxLine {
			return fmt.Errorf("%w: a line of more than %d bytes", errNotRedis, maxLine)
		}
		if s.line[len(s.line)-1] != '\n' {
			continue
		}
		if err := s.head(); err != nil {
			return err
		}
		s.line = s.line[:0]
	}
	return nil
}

// head reads the line that a reply begins with.
func (s *replyScanner) head() error {
	if len(s.line) < 3 || s.line[len(s.line)-2] != '\r' {
		return fmt.Errorf("%w: a line without its end", errNotRedis)
	}
	kind, rest := s.line[0], string(s.line[1:len(s.line)-2])
	switch kind {
	case '-':
		if !isWhole(rest) {
			return fmt.Errorf("%w: a redirection to nowhere", errNotRedis)
		}
		return s.end()
	case '+', ',', '(':
		return s.end()
	case '_', '#':
		// The client takes these at their length: what comes behind is the next reply to it.
		if value := s.line[:len(s.line)-2]; !slices.Contains([]string{"_", "#t", "#f"}, string(value)) {
			return fmt.Errorf("%w: a null or boolean that is none", errNotRedis)
		}
		return s.end()
	case ':':
		if _, err := strconv.ParseInt(rest, 10, 64); err != nil {
			return fmt.Errorf("%w: a number that is none", errNotRedis)
		}
		return s.end()
	case '$', '=':
		return s.beginBlob(rest)
	case '*', '~':
		return s.beginArray(rest, 1)
	case '%':
		return s.beginArray(rest, 2)
	case '>':
		if len(s.nested) > 0 || s.push == nil {
			return fmt.Errorf("%w: a push where none may be", errNotRedis)
		}
		s.inPush, s.kind = true, s.kind[:0]
		return s.beginArray(rest, 1)
	default:
		return fmt.Errorf("%w: a reply of type %q", errNotRedis, kind)
	}
}

// isWhole reports whether an error has all its words, if it is one that the client looks for an address in.
func isWhole(text string) bool {
	return !strings.HasPrefix(text, "MOVED") && !strings.HasPrefix(text, "ASK") && !strings.HasPrefix(text, "REDIRECT") ||
		strings.Count(text, " ") >= 2
}

func (s *replyScanner) beginBlob(length string) error {
	n, err := strconv.Atoi(length)
	switch {
	case length == "-1":
		return s.end()
	case err != nil || n < 0 || n > maxBlob:
		return fmt.Errorf("%w: a string of a length above %d", errNotRedis, maxBlob)
	}
	s.inKind = s.awaitsKind()
	s.blob = n + 2
	return nil
}

func (s *replyScanner) beginArray(length string, each int) error {
	n, err := strconv.Atoi(length)
	switch {
	case s.awaitsKind():
		return errNoKind
	case length == "-1" && each == 1:
		return s.end()
	case err != nil || n < 0 || n > maxElements || len(s.nested) == maxNesting:
		return fmt.Errorf("%w: an array of more than %d elements, or too many in each other", errNotRedis, maxElements)
	case n == 0:
		return s.end()
	}
	s.nested = append(s.nested, each*n)
	return nil
}

// awaitsKind reports whether the next element is the first of a push, which must be a string.
func (s *replyScanner) awaitsKind() bool {
	return s.inPush && len(s.nested) == 1 && len(s.kind) == 0
}

var errNoKind = fmt.Errorf("%w: a push of no kind", errNotRedis)

// end ends a reply, and the arrays that it is the last element of.
func (s *replyScanner) end() error {
	if s.inKind {
		s.inKind = false
		if err := s.push(bytes.TrimSuffix(s.kind, []byte("\r\n"))); err != nil {
			return err
		}
	} else if s.awaitsKind() {
		return errNoKind
	}
	for last := len(s.nested) - 1; last >= 0; last-- {
		if s.nested[last]--; s.nested[last] > 0 {
			return nil
		}
		s.nested = s.nested[:last]
	}
	if s.inPush {
		s.inPush = false
		if len(s.kind) == 0 {
			return errNoKind
		}
		return nil
	}
	s.replies++
	return nil
}
