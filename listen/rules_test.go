package listen_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// TestUncleanRules: after which ends of a connection its session does not resume any more.
func TestUncleanRules(t *testing.T) {
	cleanly := func(client, server *tls.Conn) {
		client.Close()
		readToEnd(server)
		server.Close()
	}
	noCloseNotifyFromClient := func(client, server *tls.Conn) {
		client.NetConn().Close()
		readToEnd(server)
		server.Close()
	}
	noCloseNotifyFromServer := func(client, server *tls.Conn) {
		client.Close()
		readToEnd(server)
		server.NetConn().Close()
	}
	fatalAlert := func(client, server *tls.Conn) {
		writeGarbage(client.NetConn())
		readToEnd(server)
		server.Close()
	}
	for _, rule := range []struct {
		unclean reprise.Unclean
		name    string
		removed [4]bool // after each of the ends below
	}{
		{reprise.UncleanNever, "never", [4]bool{false, false, false, false}},
		{reprise.UncleanFatal, "fatal", [4]bool{false, false, false, true}},
		{reprise.UncleanOpenSSL, "OpenSSL", [4]bool{false, false, true, true}},
		{reprise.UncleanStrict, "strict", [4]bool{false, true, true, true}},
	} {
		t.Run(rule.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, version uint16) {
				for i, end := range []func(client, server *tls.Conn){
					cleanly, noCloseNotifyFromClient, noCloseNotifyFromServer, fatalAlert,
				} {
					cache := newCache(t, reprise.Options{Unclean: rule.unclean})
					ln := newListener(t, listenTCP(t), cache, listen.Options{})
					config := clientConfig(t, version)
					end(connect(t, ln, config))
					client, _ := connect(t, ln, config)
					if resumed := client.ConnectionState().DidResume; resumed == rule.removed[i] {
						t.Errorf("end %d: resumed = %v", i, resumed)
					}
				}
			})
		})
	}
}

// TestUncleanRemovesWhatWasResumed: a TLS 1.2 connection that made no session of its own removes the one that it
// resumed, and names the reason.
func TestUncleanRemovesWhatWasResumed(t *testing.T) {
	cache := newCache(t, reprise.Options{})
	var removal atomic.Int32
	removal.Store(-1)
	cache.SetRemoveCallback(func(_ *reprise.Cache, _ *reprise.Session, why reprise.Removal, _ bool) {
		removal.Store(int32(why))
	})
	ln := newListener(t, listenTCP(t), cache, listen.Options{})
	config := clientConfig(t, tls.VersionTLS12)
	_, server := connect(t, ln, config)
	server.Close()
	client, server := connect(t, ln, config)
	if !client.ConnectionState().DidResume {
		t.Fatal("not resumed")
	}
	server.NetConn().Close()
	if got := reprise.Removal(removal.Load()); got != reprise.RemovedUnclean {
		t.Errorf("removed as %q, want %q", got, reprise.RemovedUnclean)
	}
	if n := cache.Stats().Number; n != 0 {
		t.Errorf("%d sessions in the cache", n)
	}
}

// TestEndingWithDataAndEOFAtOnce: a Read may return both.
func TestEndingWithDataAndEOFAtOnce(t *testing.T) {
	forEachVersion(t, func(t *testing.T, version uint16) {
		var last *eofWithData
		inner := wrapListener{listenTCP(t), func(conn net.Conn) net.Conn {
			last = &eofWithData{Conn: conn}
			return last
		}}
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{MaxHandshakes: 1})
		client, server := connect(t, ln, clientConfig(t, version))
		client.Close()
		last.readsAll.Store(true)
		readToEnd(server)
		server.Close()
		if got := listen.EndingOf(server); got != both {
			t.Errorf("ended with %+v, want %+v", got, both)
		}
	})
}

// eofWithData returns the rest of a connection together with io.EOF, once it is told to.
type eofWithData struct {
	net.Conn
	readsAll atomic.Bool
}

func (c *eofWithData) Read(b []byte) (int, error) {
	if !c.readsAll.Load() {
		return c.Conn.Read(b)
	}
	rest, err := io.ReadAll(c.Conn)
	if err != nil {
		return 0, err
	}
	return copy(b, rest), io.EOF
}
