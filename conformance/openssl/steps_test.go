package openssl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
	"github.com/reprise-tls/reprise/sslsession"
)

// A performer plays the server's part of scenarios, one after the other.
type performer struct {
	t            *testing.T
	engine       string
	dir          string
	certificates []tls.Certificate

	printing sync.Mutex
	control  net.Conn
	activity string // what the server is doing

	// Of the scenario.
	began       time.Time
	offset      time.Duration
	keys        *reprise.FleetKeys
	store       *sync.Map // the external store
	objects     *sync.Map // the sessions that were announced
	servers     []*server
	connections []*connection
	result      bool // of the last step that has one
}

// A connection is the server's side of one.
type connection struct {
	server *server
	conn   net.Conn
	raw    net.Conn // below TLS
}

func newPerformer(t *testing.T, control net.Conn, engine string) *performer {
	p := &performer{t: t, engine: engine, dir: t.TempDir(), control: control, certificates: []tls.Certificate{newCertificate(t)}}
	p.reset()
	return p
}

func (p *performer) reset() {
	p.began = time.Now().Truncate(time.Second)
	p.offset = 0
	p.keys = reprise.RandomFleetKeys()
	p.store, p.objects = new(sync.Map), new(sync.Map)
	p.servers, p.connections = nil, nil
	p.activity = "idle"
}

func (p *performer) now() time.Time {
	p.printing.Lock()
	defer p.printing.Unlock()
	return p.began.Add(p.offset)
}

// print sends a line.
func (p *performer) print(format string, args ...any) {
	p.printing.Lock()
	defer p.printing.Unlock()
	fmt.Fprintf(p.control, format+"\n", args...)
}

func (p *performer) event(format string, args ...any) { p.print(format, args...) }

func (p *performer) doing() string {
	p.printing.Lock()
	defer p.printing.Unlock()
	return p.activity
}

func (p *performer) do(activity string) {
	p.printing.Lock()
	defer p.printing.Unlock()
	p.activity = activity
}

func (p *performer) socketPath() string {
	return filepath.Join(p.dir, fmt.Sprintf("%d-%d", len(p.servers), time.Now().UnixNano()))
}

// step plays a step.
func (p *performer) step(s step) error {
	defer p.do("idle")
	switch s.word(0) {
	case "server":
		r, err := newServer(p, s)
		if err == nil {
			p.servers = append(p.servers, r)
		}
		return err
	case "close":
		return p.close(p.connections[s.number(1)-1], s.word(2))
	case "clock":
		p.printing.Lock()
		defer p.printing.Unlock()
		p.offset += time.Duration(s.number(1)) * time.Second
		return nil
	case "store":
		return p.changeStore(s)
	case "end":
		p.end()
		return nil
	case "session-timeout":
		return unplayable("immutable-sessions")
	case "renegotiate":
		return unplayable("no-renegotiation")
	case "new-ticket":
		return unplayable("tickets-on-demand")
	}
	r, err := p.serverNamed(s.word(1))
	if err != nil {
		return err
	}
	return r.step(s)
}

func (p *performer) serverNamed(name string) (*server, error) {
	for _, r := range p.servers {
		if r.name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("there is no server %q", name)
}

// end prints the statistics and forgets the scenario.
func (p *performer) end() {
	for _, r := range p.servers {
		if !r.closed {
			r.printStats()
		}
	}
	n := 0
	for range p.store.Range {
		n++
	}
	p.print("= store %d", n)
	for _, c := range p.connections {
		if c != nil {
			c.raw.Close()
		}
	}
	for _, r := range p.servers {
		r.close()
	}
	p.reset()
}

func (p *performer) changeStore(s step) error {
	session, err := p.session(s.word(2))
	if err != nil {
		return err
	}
	switch s.word(1) {
	case "forget":
		p.store.Delete(session.ID())
	case "restore":
		p.store.Store(session.ID(), session)
	default:
		return fmt.Errorf("no step %q with the store", s.word(1))
	}
	return nil
}

// step plays a step that is about one server.
func (r *server) step(s step) error {
	switch s.word(0) {
	case "set":
		return r.set(s)
	case "connect":
		return r.connect(s)
	case "flush":
		r.do("SSL_CTX_flush_sessions")
		r.flush(s)
	case "remove":
		r.do("SSL_CTX_remove_session")
		return r.remove(s.word(2))
	case "add":
		r.do("SSL_CTX_add_session")
		return r.add(s)
	case "look":
		return r.look(s)
	case "size":
		old := r.cache.SetSize(s.number(2))
		r.event("step set=%s returned=%d get=%d", s.word(2), old, r.cache.Size())
	case "free":
		r.printStats()
		r.do("SSL_CTX_free")
		r.closed = true
		return r.cache.Close()
	default:
		return fmt.Errorf("unknown step %q", s.word(0))
	}
	return nil
}

func (r *server) flush(s step) {
	if s.word(2) == "0" {
		r.cache.Flush(time.Time{})
	} else {
		r.cache.Flush(r.now().Add(time.Duration(s.number(2)) * time.Second))
	}
}

func (r *server) remove(name string) error {
	if name == "null" {
		return unplayable("no-null")
	}
	if name == "empty" {
		r.result = r.cache.Remove(new(reprise.Session))
		return nil
	}
	s, err := r.session(name)
	if err == nil {
		r.result = r.cache.Remove(s)
	}
	return err
}

func (r *server) add(s step) error {
	session, err := r.session(s.word(2))
	if err != nil {
		return err
	}
	if s.word(3) == "copy" {
		session = withID(session, session.ID())
	}
	if err := r.cache.Add(session); err != nil {
		return err
	}
	r.result = true
	return nil
}

// look prints something that the server knows.
func (r *server) look(s step) error {
	switch s.word(2) {
	case "number":
		r.event("step number=%d", r.cache.Stats().Number)
		return nil
	case "result":
		n := 0
		if r.result {
			n = 1
		}
		r.event("step ret=%d", n)
		return nil
	case "object", "resumable":
		return nil // a session is a value, and knows nothing of the cache
	}
	session, ok := listen.SessionOf(r.connections[len(r.connections)-1].conn)
	if !ok {
		return errors.New("the connection has no session")
	}
	switch s.word(2) {
	case "timeout":
		r.event("step timeout_of_new_session=%.0f", session.Timeout().Seconds())
	case "renewed":
		if cached := r.cache.Lookup(session.ID()); cached != nil {
			session = cached
		}
		r.event("step time_moved_forward=%t", session.Created().Equal(r.now()))
	case "context":
		r.event("step session_sid_ctx=%s", session.Context())
	case "tags":
		return r.lookAtTags(session)
	default:
		return fmt.Errorf("look at %q?", s.word(2))
	}
	return nil
}

func (r *server) lookAtTags(session *reprise.Session) error {
	x, err := sslsession.FromSession(session)
	if err != nil {
		return err
	}
	der, err := x.Marshal()
	if err != nil {
		return err
	}
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return err
	}
	var tags []string
	for rest := outer.Bytes; len(rest) > 0; {
		var element asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &element); err != nil {
			return err
		}
		tags = append(tags, fmt.Sprintf("%02X", element.FullBytes[0]))
	}
	r.event("der_tags of=server_session tags=%s", strings.Join(tags, "_"))
	return nil
}

// Connections.

// connect makes the server's side of a handshake, and answers the client's byte.
func (r *server) connect(s step) error {
	if s.settings["late-context"] != "" {
		if err := r.cache.SetContext([]byte(s.settings["late-context"])); err != nil {
			return err
		}
	}
	if s.settings["own-context"] != "" {
		return unplayable("context-of-a-connection")
	}
	r.do("accept")
	r.print("-")
	select {
	case conn := <-r.accepted:
		return r.established(conn)
	case <-r.failed: //nolint:errcheck // why is the client's to tell, by the alert
		r.connections = append(r.connections, nil)
		return nil
	case <-time.After(patience / 10):
		return errors.New("no handshake")
	}
}

func (r *server) established(conn net.Conn) error {
	r.connections = append(r.connections, &connection{server: r, conn: conn, raw: *r.inner.last.Load()})
	if err := conn.SetDeadline(time.Now().Add(patience / 10)); err != nil {
		return err
	}
	state := conn.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState()
	info, _ := listen.InfoOf(conn)
	if info.Engine != r.engine {
		return fmt.Errorf("the engine is %s", info.Engine)
	}
	r.print("accepted version=%s reused=%t", strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), state.DidResume)
	var b [16]byte
	r.do("server_read")
	if _, err := conn.Read(b[:]); err != nil {
		return err
	}
	r.do("server_write")
	_, err := conn.Write([]byte("s"))
	return err
}

// garbage is a record that nobody has made.
var garbage = append([]byte{23, 3, 3, 0, 32, 1}, make([]byte, 31)...)

// close plays the server's parts of a close.
func (p *performer) close(c *connection, parts string) error {
	if c == nil {
		return errors.New("the connection is not there")
	}
	if strings.ContainsAny(parts, "qm") {
		return unplayable("quiet-shutdown")
	}
	if strings.Contains(parts, "k") {
		return unplayable("ssl-clear")
	}
	for _, part := range parts {
		switch part {
		case 'G':
			if _, err := c.raw.Write(garbage); err != nil {
				return err
			}
		case 'r':
			p.do("server_read")
			c.conn.Read(make([]byte, 16)) //nolint:errcheck // whatever it is that ends the connection
		case 's':
			p.do("server_shutdown")
			c.conn.(interface{ CloseWrite() error }).CloseWrite() //nolint:errcheck // the client may have gone
		case 'f':
			p.do("SSL_free")
			// Not the Close of TLS, which would send close_notify.
			c.conn.(interface{ NetConn() net.Conn }).NetConn().Close()
			c.conn.Close()
		}
	}
	return nil
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "server"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
		DNSNames:     []string{"a.example", "b.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
