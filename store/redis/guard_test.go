package redisstore

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// newScanner returns one of replies to commands, among which notices may be.
func newScanner() *replyScanner { return &replyScanner{push: judgePush} }

func TestReplyScanner(t *testing.T) {
	for stream, want := range map[string]int64{
		"":                                0,
		"+OK\r\n":                         1,
		"-ERR no\r\n:1\r\n":               2,
		"$5\r\nab\r\nc\r\n$-1\r\n_\r\n":   3,
		"*2\r\n$0\r\n\r\n*0\r\n*-1\r\n":   2,
		"%1\r\n+a\r\n*1\r\n:-5\r\n#t\r\n": 2,
		">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n": 0,
		"+a\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n+b\r\n":   2,
		"*1\r\n*1\r\n*1\r\n+x\r\n$4\r\nunfi":             1,
	} {
		whole, single := newScanner(), newScanner()
		if err := whole.scan([]byte(stream)); err != nil || whole.replies != want {
			t.Errorf("%q: %d replies, %v; want %d", stream, whole.replies, err, want)
		}
		for i := range len(stream) {
			if err := single.scan([]byte{stream[i]}); err != nil {
				t.Errorf("%q: byte %d: %v", stream, i, err)
			}
		}
		if single.replies != want {
			t.Errorf("%q: %d replies byte by byte, want %d", stream, single.replies, want)
		}
	}
}

func TestReplyScannerRefuses(t *testing.T) {
	for _, stream := range []string{
		"HTTP/1.1 400 Bad Request\r\n", "\x15\x03\x01\n", "+OK\n", "\r\n", "+\n",
		"$99999999999\r\n", "$-2\r\n", "$x\r\n", "$\r\n", "*9999999999\r\n", "%600000000000\r\n", "*-7\r\n",
		":1x\r\n", ":\r\n", "*?\r\n", "|1\r\n", ";4\r\n",
		strings.Repeat("*1\r\n", 9),
		"*1\r\n>1\r\n", ">2\r\n$9\r\nsubscribe\r\n", ">1\r\n:1\r\n", ">0\r\n", ">-1\r\n",
		"%-1\r\n", "_x\r\n", "#tx\r\n", "#\r\n",
		">2\r\n+subscribe\r\n$10\r\ninvalidate\r\n", ">2\r\n*1\r\n$9\r\nsubscribe\r\n$10\r\ninvalidate\r\n", ">2\r\n*0\r\n$10\r\ninvalidate\r\n",
		"-" + strings.Repeat("x", 1<<13),
		"-MOVED\r\n", "-MOVED 1\r\n", "-ASK 1\r\n", "-ASKED\r\n", "-REDIRECT\r\n", "*1\r\n-MOVED 1\r\n", "!7\r\nMOVED 1\r\n",
	} {
		s := newScanner()
		if err := s.scan([]byte(stream)); !errors.Is(err, errNotRedis) {
			t.Errorf("%.40q: error %v, want errNotRedis", stream, err)
		}
	}
	s := replyScanner{}
	if err := s.scan([]byte(">2\r\n$10\r\ninvalidate\r\n_\r\n")); !errors.Is(err, errNotRedis) {
		t.Errorf("a push where none may be: %v", err)
	}
}

// FuzzReplyScanner checks that a stream is judged in the same way whatever parts it comes in, and keeps little of it.
func FuzzReplyScanner(f *testing.F) {
	f.Add([]byte("*2\r\n$2\r\nab\r\n%1\r\n+a\r\n:1\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n"), 3)
	f.Add([]byte("$-1\r\n-ERR\r\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, part int) {
		if part < 1 {
			part = 1
		}
		whole, parts := newScanner(), newScanner()
		want := whole.scan(stream)
		var got error
		for rest := stream; len(rest) > 0 && got == nil; rest = rest[min(part, len(rest)):] {
			got = parts.scan(rest[:min(part, len(rest))])
		}
		if (got == nil) != (want == nil) || want == nil && whole.replies != parts.replies {
			t.Fatalf("%v and %d replies as a whole, %v and %d in parts of %d", want, whole.replies, got, parts.replies, part)
		}
		if cap(parts.line) > 4*maxLine || len(parts.kind) > maxBlob+2 || len(parts.nested) > maxNesting {
			t.Fatal("it keeps too much")
		}
	})
}

// TestGuardedConn checks what may come after which commands.
func TestGuardedConn(t *testing.T) {
	const (
		ping       = "*1\r\n$4\r\nPING\r\n"
		subscribe  = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n"
		pong       = "+PONG\r\n"
		subscribed = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
		message    = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
		notice     = ">2\r\n$10\r\ninvalidate\r\n_\r\n"
		left       = ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"
		notAllowed = "-NOPERM no\r\n"
	)
	for _, test := range []struct {
		sent, received string
		want           bool
	}{
		{ping + ping, pong + notice + pong, true},
		{ping, pong + pong, false},
		{"", pong, false},
		{ping + ping, notAllowed + pong, true},
		{ping, subscribed, false},
		{subscribe, subscribed, false},
		{ping, message, false},
		{ping, left, false},
	} {
		ours, theirs := net.Pipe()
		c := newGuardedConn(t.Context(), ours)
		go func() {
			_, _ = io.ReadFull(theirs, make([]byte, len(test.sent)))
			_, _ = io.WriteString(theirs, test.received)
			theirs.Close()
		}()
		if len(test.sent) > 0 {
			if _, err := c.Write([]byte(test.sent)); err != nil {
				t.Errorf("%q: %v", test.sent, err)
			}
		}
		if got, err := io.ReadAll(c); (err == nil) != test.want || err == nil && string(got) != test.received {
			t.Errorf("%q is answered with %q: %v", test.sent, test.received, err)
		}
		c.Close()
	}
}
