package conformance_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
)

// goClient is crypto/tls.
type goClient struct {
	config *tls.Config
	cache  *oneSession
}

func startGo(t *testing.T, s settings) client {
	t.Helper()
	c := goClient{cache: &oneSession{}}
	c.config = &tls.Config{
		RootCAs:            readRoots(t, s.files.CA),
		MinVersion:         s.version,
		MaxVersion:         s.version,
		ClientSessionCache: c.cache,
	}
	return c
}

func (c goClient) connect(t *testing.T, r request) result {
	t.Helper()
	config := c.config.Clone()
	config.ServerName = r.name
	if r.certificate != nil {
		certificate, err := tls.LoadX509KeyPair(r.certificate.cert, r.certificate.key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	c.cache.keep = r.keep
	resumed, body, err := ask(r.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	return clientSays(parseAnswer(t, body), resumed)
}

// ask makes a connection with one request.
func ask(addr string, config *tls.Config) (resumed bool, body []byte, err error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return false, nil, err
	}
	defer conn.Close()
	body, err = askOver(conn)
	return conn.ConnectionState().DidResume, body, err
}

// askOver makes a request over a connection.
func askOver(conn net.Conn) (body []byte, err error) {
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// oneSession is a cache of one session, which is offered to every server.
type oneSession struct {
	session *tls.ClientSessionState
	keep    bool
}

func (c *oneSession) Get(string) (*tls.ClientSessionState, bool) { return c.session, c.session != nil }

func (c *oneSession) Put(_ string, session *tls.ClientSessionState) {
	if session != nil && !c.keep {
		c.session = session
	}
}

func readRoots(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	encoded, err := os.ReadFile(file)
	if err != nil || !roots.AppendCertsFromPEM(encoded) {
		t.Fatalf("roots in %s: %v", file, err)
	}
	return roots
}
