package listen_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// An endingCase is a way in which a connection can end.
type endingCase struct {
	name string
	end  func(client, server *tls.Conn)
	want reprise.Ending
}

// Shorthands for endings.
var (
	sent     = reprise.Ending{CloseNotifySent: true}
	received = reprise.Ending{CloseNotifyReceived: true}
	both     = reprise.Ending{CloseNotifySent: true, CloseNotifyReceived: true}
	nothing  = reprise.Ending{}
	fatal    = reprise.Ending{CloseNotifySent: true, FatalAlert: true}
)

var endingCases = []endingCase{
	{"client closes first", func(client, server *tls.Conn) {
		client.Close()
		readToEnd(server)
		server.Close()
	}, both},
	{"client closes, server does not read that", func(client, server *tls.Conn) {
		client.Close()
		server.Close()
	}, sent},
	{"server closes first", func(client, server *tls.Conn) {
		server.Close()
		readToEnd(client)
		client.Close()
	}, sent},
	{"server half-closes, client answers", func(client, server *tls.Conn) {
		_ = server.CloseWrite()
		readToEnd(client)
		client.Close()
		readToEnd(server)
		server.Close()
	}, both},
	{"client half-closes, server answers", func(client, server *tls.Conn) {
		_ = client.CloseWrite()
		readToEnd(server)
		server.Close()
	}, both},
	{"FIN without close_notify", func(client, server *tls.Conn) {
		client.NetConn().Close()
		readToEnd(server)
		server.Close()
	}, sent},
	{"RST", func(client, server *tls.Conn) {
		_ = client.NetConn().(*net.TCPConn).SetLinger(0)
		client.NetConn().Close()
		readToEnd(server)
		server.Close()
	}, sent},
	{"server closes below TLS", func(client, server *tls.Conn) {
		server.NetConn().Close()
		client.Close()
	}, nothing},
	{"server closes below TLS after close_notify has come", func(client, server *tls.Conn) {
		client.Close()
		readToEnd(server)
		server.NetConn().Close()
	}, received},
	{"close_notify behind unread data", func(client, server *tls.Conn) {
		fmt.Fprint(client, "some data")
		client.Close()
		time.Sleep(time.Millisecond) // so that both mostly are in one segment
		_, _ = server.Read(make([]byte, 1))
		readToEnd(server)
		server.Close()
	}, both},
	{"FIN behind unread data", func(client, server *tls.Conn) {
		fmt.Fprint(client, "some data")
		client.NetConn().Close()
		_, _ = server.Read(make([]byte, 1))
		server.Close()
	}, sent},
	{"FIN within a record", func(client, server *tls.Conn) {
		_, _ = client.NetConn().Write([]byte{23, 3, 3, 0, 40, 1, 2, 3})
		client.NetConn().Close()
		readToEnd(server)
		server.Close()
	}, sent},
	{"record that can't be decrypted", func(client, server *tls.Conn) {
		writeGarbage(client.NetConn())
		readToEnd(server)
		server.Close()
	}, fatal},
	{"no record", func(client, server *tls.Conn) {
		fmt.Fprint(client.NetConn(), "GET / HTTP/1.1\r\n\r\n")
		readToEnd(server)
		server.Close()
	}, fatal},
	{"record too long", func(client, server *tls.Conn) {
		_, _ = client.NetConn().Write([]byte{23, 3, 3, 0xff, 0xff})
		readToEnd(server)
		server.Close()
	}, fatal},
	{"fatal alert from the client", func(client, server *tls.Conn) {
		writeGarbage(server.NetConn())
		readToEnd(client) // sends bad_record_mac
		readToEnd(server)
		server.Close()
	}, fatal},
	{"fatal alert, then closed below TLS", func(client, server *tls.Conn) {
		writeGarbage(client.NetConn())
		readToEnd(server)
		server.NetConn().Close()
	}, reprise.Ending{FatalAlert: true}},
	{"closed while another goroutine reads", func(client, server *tls.Conn) {
		done := make(chan struct{})
		go func() {
			readToEnd(server)
			close(done)
		}()
		server.Close()
		<-done
	}, sent},
	{"closed below TLS while another goroutine reads", func(client, server *tls.Conn) {
		done := make(chan struct{})
		go func() {
			readToEnd(server)
			close(done)
		}()
		server.NetConn().Close()
		<-done
	}, nothing},
	{"deadline passed before, as net/http does", func(client, server *tls.Conn) {
		_ = server.SetReadDeadline(time.Now())
		readToEnd(server)
		_ = server.SetReadDeadline(time.Time{})
		client.Close()
		readToEnd(server)
		server.Close()
	}, both},
	{"closed twice", func(client, server *tls.Conn) {
		server.Close()
		server.Close()
		server.NetConn().Close()
	}, sent},
}

func TestEnding(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
		config := clientConfig(t, version)
		for _, test := range endingCases {
			t.Run(test.name, func(t *testing.T) {
				client, server := connect(t, ln, config)
				test.end(client, server)
				if got := listen.EndingOf(server); got != test.want {
					t.Errorf("ended with %+v, want %+v", got, test.want)
				}
			})
		}
	})
}

// TestEndingWhileAWriteIsBlocked: crypto/tls then closes without close_notify.
func TestEndingWhileAWriteIsBlocked(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
		_, server := connect(t, ln, clientConfig(t, version))
		done := make(chan error, 1)
		progress := make(chan struct{}, 1)
		go func() {
			for {
				if _, err := server.Write(make([]byte, 1<<20)); err != nil {
					done <- err
					return
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		}()
		for blocked := false; !blocked; {
			select {
			case <-progress:
			case <-time.After(200 * time.Millisecond):
				blocked = true
			}
		}
		server.Close()
		if err := <-done; err == nil {
			t.Error("the write succeeded")
		}
		if got := listen.EndingOf(server); got != nothing {
			t.Errorf("ended with %+v", got)
		}
	})
}

// TestEndingWithAWriteUnderWayToAClientThatHasGone: an HTTP/2 server often has one when its client closes.
func TestEndingWithAWriteUnderWayToAClientThatHasGone(t *testing.T) {
	for _, test := range []struct {
		name  string
		close func(client *tls.Conn)
		want  reprise.Ending
	}{
		{"close_notify", func(client *tls.Conn) { client.Close() }, both},
		{"FIN", func(client *tls.Conn) { client.NetConn().Close() }, sent},
	} {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				var last *stuckWrites
				inner := wrapListener{listenTCP(t), func(conn net.Conn) net.Conn {
					last = &stuckWrites{Conn: conn, begun: make(chan struct{}), closed: make(chan struct{})}
					return last
				}}
				ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{MaxHandshakes: 1})
				client, server := connect(t, ln, clientConfig(t, version))
				test.close(client)
				readToEnd(server)
				last.isStuck.Store(true)
				done := make(chan error, 1)
				go func() {
					_, err := server.Write([]byte("too late"))
					done <- err
				}()
				<-last.begun
				server.Close()
				if err := <-done; err == nil {
					t.Error("the write succeeded")
				}
				if got := listen.EndingOf(server); got != test.want {
					t.Errorf("ended with %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

// stuckWrites is a connection whose writes, once it is told to, block until it is closed.
type stuckWrites struct {
	net.Conn
	isStuck       atomic.Bool
	begun, closed chan struct{}
}

func (c *stuckWrites) Write(b []byte) (int, error) {
	if !c.isStuck.Load() {
		return c.Conn.Write(b)
	}
	close(c.begun)
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckWrites) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

// TestCloseFromEverywhere: goroutines that read, write and close, above and below TLS, all get an end, and the cache one
// verdict.
func TestCloseFromEverywhere(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
		config := clientConfig(t, version)
		for range 20 {
			client, server := connect(t, ln, config)
			go func() { _, _ = io.Copy(client, client) }()
			var users sync.WaitGroup
			for range 4 {
				users.Go(func() { readToEnd(server) })
				users.Go(func() {
					for {
						if _, err := server.Write(make([]byte, 1000)); err != nil {
							return
						}
					}
				})
			}
			for range 2 {
				users.Go(func() { _ = server.Close() })
				users.Go(func() { _ = server.NetConn().Close() })
			}
			users.Wait()
			client.NetConn().Close()
			if e := listen.EndingOf(server); e.FatalAlert {
				t.Errorf("ended with %+v", e)
			}
		}
	})
}

// TestNoEndingIsMisjudged ends many connections at once, each in a way chosen at random. REPRISE_SOAK makes it long.
func TestNoEndingIsMisjudged(t *testing.T) {
	n := 1000
	if os.Getenv("REPRISE_SOAK") != "" {
		n = 10_000
	}
	if raceEnabled {
		n = 200
	}
	forEachVersion(t, func(t *testing.T, version uint16) {
		for worker := range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
				config := clientConfig(t, version)
				random := rand.New(rand.NewPCG(uint64(version), uint64(worker)))
				for range n / 4 {
					test := &endingCases[random.IntN(len(endingCases))]
					client, server := connect(t, ln, config)
					test.end(client, server)
					if got := listen.EndingOf(server); got != test.want {
						t.Errorf("%s: ended with %+v, want %+v", test.name, got, test.want)
					}
					client.NetConn().Close()
				}
			})
		}
	})
}
