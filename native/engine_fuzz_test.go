package native_test

import (
	"crypto/tls"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// A scripted connection reads what it was given and then the end of the stream.
type scripted struct {
	net.Conn
	input []byte
}

func (c *scripted) Read(b []byte) (int, error) {
	if len(c.input) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.input)
	c.input = c.input[n:]
	return n, nil
}

func (c *scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// A recorder notes what is read.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	bytes []byte
}

func (c *recorder) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = append(c.bytes, b[:n]...)
	return n, err
}

// clientFlight returns what a client of crypto/tls sends in a handshake with native.
func clientFlight(tb testing.TB, server *tls.Config, client *tls.Config) []byte {
	tb.Helper()
	cache, err := reprise.New(reprise.Options{Context: []byte("fuzz")})
	if err != nil {
		tb.Fatal(err)
	}
	a, b := net.Pipe()
	recorded := &recorder{Conn: b}
	go func() {
		conn := tls.Client(a, client)
		if _, err := conn.Write([]byte("data")); err != nil {
			tb.Errorf("client: %v", err)
		}
		conn.Close()
	}()
	conn := native.Server(recorded, server, cache)
	if _, err := io.Copy(io.Discard, conn); err != nil {
		tb.Errorf("server: %v", err)
	}
	conn.Close()
	return recorded.bytes
}

// FuzzEngine replays recorded connections, and changes what the client sends in the last one. The keys are those of the
// recording, so a flight that is as it was goes all the way. Whatever else is sent neither panics nor hangs; what completes a
// handshake is what was recorded, and what is read was said by the client; a handshake that is not completed makes no session, and
// takes none away.
func FuzzEngine(f *testing.F) {
	recorded := make([][]flight, len(scenarios))
	for i, s := range scenarios {
		recorded[i] = s.load(f)
		for j, flight := range recorded[i] {
			f.Add(uint8(i), uint8(j), flight.Client)
		}
	}
	f.Fuzz(func(t *testing.T, i, j uint8, input []byte) {
		if int(i) >= len(recorded) || int(j) >= len(recorded[i]) {
			t.Skip()
		}
		server := scenarios[i].server(t)
		for _, before := range recorded[i][:j] {
			if _, err := server.serve(&scripted{input: before.Client}); err != nil {
				t.Fatal(err)
			}
		}
		sessions, good := server.cache.Stats().Number, server.cache.Stats().AcceptGood
		got, err := server.serve(&scripted{input: input})
		stats := server.cache.Stats()
		if stats.AcceptGood == good {
			if stats.Number != sessions {
				t.Errorf("%d sessions after a failed handshake, %d before", stats.Number, sessions)
			}
			if err == nil || got.Message != "" {
				t.Errorf("read %q before the handshake was complete: %v", got.Message, err)
			}
			return
		}
		for _, want := range slices.Concat(recorded...) { // two scenarios can differ in the client alone
			if fits(got, want) {
				return
			}
		}
		t.Errorf("another handshake was completed: %+v, want %+v", got, recorded[i][j])
	})
}

// fits tells whether a connection came to what was recorded, or broke off after its handshake.
func fits(got, want flight) bool {
	if !strings.HasPrefix(want.Message, got.Message) {
		return false
	}
	got.Client, got.Message = want.Client, want.Message
	return reflect.DeepEqual(got, want)
}
