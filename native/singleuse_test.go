package native_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/store/memory"
)

// firstSession is a client's cache that keeps the first session it gets, and offers it for ever.
type firstSession struct{ session *tls.ClientSessionState }

func (c *firstSession) Get(string) (*tls.ClientSessionState, bool) {
	return c.session, c.session != nil
}

func (c *firstSession) Put(_ string, session *tls.ClientSessionState) {
	if c.session == nil {
		c.session = session
	}
}

// A singleUser is a client that offers one session again and again, which is for single use.
type singleUser struct {
	t        *testing.T
	sessions firstSession
}

// An attempt is a handshake of a singleUser.
type attempt struct {
	client   *tls.Conn
	server   *native.Conn
	finished chan struct{} // closed to let the client's second flight through
	outcome  chan error    // of the server
	answered chan struct{} // closed when the client is done
}

// A gate is a connection whose second write waits.
type gate struct {
	net.Conn
	writes int
	open   chan struct{}
}

func (g *gate) Write(b []byte) (int, error) {
	if g.writes++; g.writes == 2 {
		<-g.open
	}
	return g.Conn.Write(b)
}

// begin begins a handshake, and returns when the server waits for the client's second flight.
func (u *singleUser) begin(cache *reprise.Cache) *attempt {
	u.t.Helper()
	authority, certificate := certtest.Shared(u.t)
	a, b := tcpPair(u.t)
	try := &attempt{finished: make(chan struct{}), outcome: make(chan error, 1), answered: make(chan struct{})}
	below := &counter{Conn: b}
	try.client = tls.Client(&gate{Conn: a, open: try.finished}, &tls.Config{
		RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: &u.sessions,
	})
	try.server = native.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	go func() { try.outcome <- try.server.Handshake() }()
	go func() {
		_ = try.client.Handshake() // the server's outcome tells
		close(try.answered)
	}()
	for below.written.Load() == 0 {
		select {
		case err := <-try.outcome:
			u.t.Fatal(err)
		default:
			time.Sleep(100 * time.Microsecond)
		}
	}
	u.t.Cleanup(func() {
		try.client.NetConn().Close()
		<-try.answered
	})
	return try
}

func (try *attempt) end() error {
	close(try.finished)
	err := <-try.outcome
	<-try.answered
	return err
}

// expect makes a whole handshake.
func (u *singleUser) expect(cache *reprise.Cache, want reprise.Reason) {
	u.t.Helper()
	try := u.begin(cache)
	if err := try.end(); err != nil {
		u.t.Fatal(err)
	}
	if got := try.server.Reason(); got != want {
		u.t.Errorf("%v, want %v", got, want)
	}
}

// TestSingleUse: a session is used when the client has proved itself, once.
func TestSingleUse(t *testing.T) {
	cache := newCache(t, reprise.Options{SingleUse: true})
	u := &singleUser{t: t}
	u.expect(cache, reprise.NotOffered)

	observer := u.begin(cache) // has the ID, and nothing else
	u.expect(cache, reprise.Used)
	observer.client.NetConn().Close()
	close(observer.finished)
	if err := <-observer.outcome; err == nil {
		t.Fatal("a handshake was completed without a Finished")
	}
	u.expect(cache, reprise.Resumed)
	u.expect(cache, reprise.Used)
}

// TestSingleUseOnTwoNodes at the same time: one resumes. The other has agreed on keys by then, and ends the connection.
func TestSingleUseOnTwoNodes(t *testing.T) {
	key, err := reprise.NewFleetKeys(make([]byte, reprise.FleetKeyLength))
	if err != nil {
		t.Fatal(err)
	}
	store := new(memory.Store)
	var nodes [2]*reprise.Cache
	var bindings [2]*reprise.StoreBinding
	for i := range nodes {
		nodes[i] = newCache(t, reprise.Options{SingleUse: true, Keys: key})
		if bindings[i], err = reprise.BindStore(nodes[i], store, reprise.StoreOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	u := &singleUser{t: t}
	u.expect(nodes[0], reprise.NotOffered)
	if err := bindings[0].Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second := u.begin(nodes[0]), u.begin(nodes[1])
	if err := first.end(); err != nil || first.server.Reason() != reprise.Resumed {
		t.Errorf("the first: %v, %v", first.server.Reason(), err)
	}
	if err := second.end(); err == nil || !strings.Contains(err.Error(), ": used") {
		t.Errorf("the second: %v, want an error that the session is used", err)
	}
	_, err = second.client.Read(make([]byte, 1))
	if opError, ok := errors.AsType[*net.OpError](err); !ok || opError.Err.Error() != "tls: handshake failure" {
		t.Errorf("the second client read %v, want the alert handshake failure", err)
	}
}

// TestPanicReleasesSession: a callback that panics harms its connection alone.
func TestPanicReleasesSession(t *testing.T) {
	cache := newCache(t, reprise.Options{SingleUse: true})
	u := &singleUser{t: t}
	u.expect(cache, reprise.NotOffered)
	hello := clientHello(t, u)
	_, certificate := certtest.Shared(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		server := native.Server(&scripted{input: hello}, &tls.Config{
			Certificates:     []tls.Certificate{certificate},
			VerifyConnection: func(tls.ConnectionState) error { panic("in the application") },
		}, cache)
		_ = server.Handshake()
	}()
	u.expect(cache, reprise.Resumed)
}

// clientHello returns the record in which a client offers its session.
func clientHello(t *testing.T, u *singleUser) []byte {
	t.Helper()
	conn := &captured{}
	_ = tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: &u.sessions,
	}).Handshake() // ends when it reads
	return conn.output
}
