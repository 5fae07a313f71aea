package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/internal/tlsstate"
)

// A client keeps its sessions between connections, and remembers all that it ever had.
type client struct {
	tls.ClientSessionCache

	mu  sync.Mutex
	had []heldSession
}

// A heldSession is what nobody else may know of a session.
type heldSession struct{ id, secret []byte }

// Put implements [tls.ClientSessionCache].
func (c *client) Put(key string, cs *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, cs)
	if cs == nil {
		return
	}
	id, state, err := cs.ResumptionState()
	if err != nil {
		return
	}
	encoded, err := state.Bytes()
	if err != nil {
		return
	}
	parsed, err := tlsstate.Parse(encoded)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.had = append(c.had, heldSession{id, parsed.Secret})
}

// cmdClean looks for sessions of the clients in a server's log.
func cmdClean(ts *testscript.TestScript, _ bool, args []string) {
	log := strings.ToLower(of(ts).server(ts, args[0]).log.String())
	held := 0
	for _, c := range of(ts).clients {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.had {
			held++
			for _, part := range [][]byte{s.id, s.secret, s.id[:16], s.secret[:16]} {
				for _, shown := range []string{
					hex.EncodeToString(part), string(part), fmt.Sprint(part), fmt.Sprintf("%q", part),
					strings.TrimRight(base64.StdEncoding.EncodeToString(part), "="),
				} {
					if strings.Contains(log, strings.ToLower(strings.Trim(shown, "[]"))) {
						ts.Fatalf("the log has %q of a session:\n%s", shown, log)
					}
				}
			}
		}
	}
	if held == 0 {
		ts.Fatalf("no client has had a session")
	}
}

// A connectionOf is how a client connects.
type connectionOf struct {
	client     string
	maxVersion string
	serverName string
	shown      string
	accept     string
	cert       string
	http1      bool
	raw        string
	listener   int
}

// cmdGet makes a connection of a client and prints the answer.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	var c connectionOf
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	flags.StringVar(&c.client, "client", "client", "whose sessions to offer")
	flags.StringVar(&c.maxVersion, "max", "1.3", "highest version of TLS")
	flags.StringVar(&c.serverName, "servername", "localhost", "name to ask for")
	flags.StringVar(&c.shown, "shown", "", "name that the server's certificate must have")
	flags.StringVar(&c.accept, "accept", "*/*", "header of the request")
	flags.StringVar(&c.cert, "cert", "", "folder with a client certificate")
	flags.BoolVar(&c.http1, "http1", false, "HTTP/1.1 only")
	times := flags.Int("n", 1, "how many times")
	flags.IntVar(&c.listener, "listener", 0, "number of the address that the server listens on")
	flags.StringVar(&c.raw, "raw", "", "send this instead of a request, then nothing more")
	ts.Check(flags.Parse(args[1:]))

	for range *times {
		answer, err := c.get(of(ts), of(ts).server(ts, args[0]).addrs[c.listener], ts.MkAbs)
		fmt.Fprint(ts.Stdout(), answer)
		if neg && err == nil {
			ts.Fatalf("the server answered: %s", answer)
		}
		if !neg {
			ts.Check(err)
		}
	}
}

func (c connectionOf) get(w *world, addr string, abs func(string) string) (string, error) {
	config, err := c.config(w, abs)
	if err != nil {
		return "", err
	}
	if c.raw != "" {
		return exchange(addr, config, c.raw)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: !c.http1}
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	request, err := http.NewRequest("GET", "https://"+c.serverName+"/path", nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", c.accept)
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%s %s\n%s", response.Proto, response.Status, body), err
}

func (c connectionOf) config(w *world, abs func(string) string) (*tls.Config, error) {
	if w.clients[c.client] == nil {
		w.clients[c.client] = &client{ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	}
	config := &tls.Config{
		InsecureSkipVerify: true,
		ServerName:         c.serverName,
		ClientSessionCache: w.clients[c.client],
		MaxVersion:         map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[c.maxVersion],
	}
	if c.shown != "" {
		config.VerifyConnection = func(cs tls.ConnectionState) error { return cs.PeerCertificates[0].VerifyHostname(c.shown) }
	}
	if c.cert != "" {
		dir := abs(c.cert)
		cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "self-signed.crt"), filepath.Join(dir, "self-signed.key"))
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// exchange sends bytes, says that nothing follows, and returns what comes back.
func exchange(addr string, config *tls.Config, sent string) (string, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, sent); err != nil {
		return "", err
	}
	if err := conn.CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func cmdOpen(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := tls.Dial("tcp", of(ts).server(ts, args[0]).addrs[0], &tls.Config{InsecureSkipVerify: true})
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
}

// cmdHang makes a connection that the server has to end.
func cmdHang(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := net.Dial("tcp", of(ts).server(ts, args[0]).addrs[0])
	ts.Check(err)
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		ts.Fatalf("the server waits for a handshake: %v", err)
	}
}

// cmdSilent accepts connections, and says nothing.
func cmdSilent(ts *testscript.TestScript, _ bool, args []string) {
	listenAs(ts, args[0], func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

func cmdCert(ts *testscript.TestScript, _ bool, args []string) {
	dir, names := ts.MkAbs(args[0]), args[1:]
	ts.Check(os.MkdirAll(dir, 0o700))
	if names[0] == "client" {
		ts.Check(clientCert(dir))
		return
	}
	_, err := certs.SelfSigned(dir, names)
	ts.Check(err)
}

// clientCert makes a certificate for a client, that is its own CA.
func clientCert(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "the client"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"self-signed.crt": {Type: "CERTIFICATE", Bytes: der},
		"self-signed.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cmdEcho starts a backend that sends back, once the client has sent all, what it got.
func cmdEcho(ts *testscript.TestScript, _ bool, args []string) {
	listenAs(ts, args[0], func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		fmt.Fprintf(conn, "echo %q", all)
	})
}

// listenAs has serve called for each connection to an address, which $name is set to, until the script ends.
func listenAs(ts *testscript.TestScript, name string, serve func(net.Conn)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(name, l.Addr().String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

func cmdWeb(ts *testscript.TestScript, _ bool, args []string) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s%s proto=%s client-cert=%t\n", r.Proto, r.Host, r.URL.Path,
			r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Client-Cert") != "")
	}))
	ts.Defer(web.Close)
	ts.Setenv(args[0], web.Listener.Addr().String())
}
