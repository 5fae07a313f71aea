package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/reprise-tls/reprise"
)

// A web is a node that serves HTTP/3: it answers with the path.
type web struct {
	*node
	server *http3.Server
}

func newWeb(t *testing.T, keys *reprise.FleetKeys, store reprise.Store, change ...func(*http3.Server)) *web {
	t.Helper()
	n := &node{t: t}
	n.cache, n.binding = newCache(t, keys, store, 0)
	w := &web{node: n}
	w.server = &http3.Server{TLSConfig: serverConfig(t, n.cache, http3.NextProtoH3), Handler: w}
	for _, f := range change {
		f(w.server)
	}
	conn := listenUDP(t)
	w.addr = conn.LocalAddr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = w.server.Serve(conn) })
	t.Cleanup(func() {
		w.server.Close()
		serving.Wait()
	})
	return w
}

// ServeHTTP implements [http.Handler].
func (w *web) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	w.mu.Lock()
	w.received = append(w.received, request.URL.Path)
	w.mu.Unlock()
	_, _ = io.WriteString(response, request.URL.Path)
}

// get asks for a path, offering a session if it is not nil, and as early data if the session allows. If these are refused, it asks
// again on a connection of its own: the client of quic-go leaves that to the application.
func (w *web) get(session *tls.ClientSessionState, path string) visit {
	w.t.Helper()
	v, err := w.request(session, http3.MethodGet0RTT, path)
	if errors.Is(err, quic.Err0RTTRejected) {
		_, err = w.request(nil, http.MethodGet, path)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return v
}

func (w *web) request(session *tls.ClientSessionState, method, path string) (v visit, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	sessions := newOneSession(session)
	conn, err := quic.DialAddrEarly(ctx, w.addr, clientConfig(w.t, http3.NextProtoH3, sessions), &quic.Config{})
	if err != nil {
		return v, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	lookAway(conn)
	answered := roundTrip(ctx, conn, method, path)
	if errors.Is(answered, quic.Err0RTTRejected) {
		if next, err := conn.NextConnection(ctx); err == nil {
			conn = next
		} // else the client of http3 has closed it already, when it could not open its streams
	} else if v.session, err = sessions.wait(ctx); err != nil {
		return v, errors.Join(answered, err)
	}
	state := conn.ConnectionState()
	v.resumed, v.early = state.TLS.DidResume, state.Used0RTT
	return v, answered
}

func roundTrip(ctx context.Context, conn *quic.Conn, method, path string) error {
	transport := &http3.Transport{}
	defer transport.Close()
	request, err := http.NewRequestWithContext(ctx, method, "https://"+serverName+path, nil)
	if err != nil {
		return err
	}
	response, err := transport.NewClientConn(conn).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != path {
		err = errors.New("the server has answered something else")
	}
	return err
}

// first returns the session of a first visit.
func (w *web) first() *tls.ClientSessionState {
	w.t.Helper()
	v := w.get(nil, "/first")
	if v.resumed || v.early {
		w.t.Fatalf("the first connection: %+v", v)
	}
	w.flush()
	return v.session
}

// TestHTTP3: a request comes early once, on whichever server, and is answered later where the session was used before.
func TestHTTP3(t *testing.T) {
	keys, store := reprise.RandomFleetKeys(), goodStore()
	a, b := newWeb(t, keys, store), newWeb(t, keys, store)
	session := a.first()
	expect(t, "first use", b.get(session, "/early"), true, true)
	for path, w := range map[string]*web{"/again": a, "/and again": b} {
		expect(t, path, w.get(session, path), false, false)
	}
	for _, path := range []string{"/early", "/again", "/and again"} {
		if got := count(path, a.node, b.node); got != 1 {
			t.Errorf("%s was served %d times", path, got)
		}
	}
}

// TestHTTP3Settings: a server whose settings are less than those that the session remembers takes no early data.
func TestHTTP3Settings(t *testing.T) {
	datagrams := func(s *http3.Server) { s.EnableDatagrams = true }
	keys, store := reprise.RandomFleetKeys(), goodStore()
	less, more := newWeb(t, keys, store), newWeb(t, keys, store, datagrams)
	expect(t, "less", less.get(more.first(), "/less"), true, false)
	expect(t, "more", more.get(less.first(), "/more"), true, true)
}

// TestHTTP3Config: with a configuration of its own for QUIC, a server of HTTP/3 takes no early data unless told.
func TestHTTP3Config(t *testing.T) {
	own := func(s *http3.Server) { s.QUICConfig = &quic.Config{} }
	w := newWeb(t, reprise.RandomFleetKeys(), goodStore(), own)
	session := w.first()
	for _, path := range []string{"/second", "/third"} {
		expect(t, path, w.get(session, path), true, false)
	}
}

// TestHTTP3AndTCP: sessions of the two do not mix, though the configuration is the same.
func TestHTTP3AndTCP(t *testing.T) {
	w := newWeb(t, reprise.RandomFleetKeys(), goodStore())
	session := w.first()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", w.server.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.(*tls.Conn).Handshake() // the client tells
		conn.Close()
	}()
	config := clientConfig(t, http3.NextProtoH3, newOneSession(session))
	conn, err := tls.Dial("tcp", listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.ConnectionState().DidResume {
		t.Error("a session of QUIC was resumed over TCP")
	}
	expect(t, "in QUIC", w.get(session, "/after"), true, true)
}
