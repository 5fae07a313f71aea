package native_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/iotest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// The flights in testdata/flights are what clients of OpenSSL have sent, each to a server whose randomness was the same as it is when
// they are replayed. They are recorded again, with the openssl of the machine, by
//
//	go test ./native -run TestRecordedFlights -update
var update = flag.Bool("update", false, "record testdata/flights again, with openssl s_client")

// A scenario is one or more connections of a client, one after the other.
type scenario struct {
	name        string
	connections int
	args        []string // of openssl s_client
	settings    string   // of libssl, as in openssl.cnf
	certificate string   // of the server
	clientAuth  tls.ClientAuthType
}

var scenarios = []scenario{
	{name: "session-id", connections: 3, args: []string{"-no_ticket", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}},
	{name: "ticket", connections: 3, args: []string{"-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-groups", "P-384"}},
	{name: "chacha20", connections: 2, args: []string{"-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-groups", "P-256"}},
	{name: "rsa", connections: 2, args: []string{"-sigalgs", "RSA+SHA256"}, certificate: "rsa"},
	{name: "alpn", connections: 2, args: []string{"-alpn", "h2,http/1.1", "-status"}},
	{name: "client-certificate", connections: 2, args: []string{"-no_ticket", "-cert", flightFile("client.pem")}, clientAuth: tls.RequireAndVerifyClientCert},
	{name: "no-client-certificate", connections: 2, clientAuth: tls.VerifyClientCertIfGiven},
	{name: "no-extended-master-secret", connections: 2, settings: "Options = -ExtendedMasterSecret"},
}

// A flight is all that a client has sent in one connection, and what came of it.
type flight struct {
	Client  []byte
	Reason  string
	Suite   string
	Curve   string
	ALPN    string
	Name    string
	Peer    string // of the client's certificate
	Message string // what the client has said
}

func flightFile(name string) string { return filepath.Join("testdata", "flights", name) }

func (s scenario) file() string { return flightFile(s.name + ".json") }

func (s scenario) load(tb testing.TB) (flights []flight) {
	tb.Helper()
	encoded, err := os.ReadFile(s.file())
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &flights); err != nil {
		tb.Fatal(err)
	}
	return flights
}

// A flightServer serves the connections of a scenario, one after the other.
type flightServer struct {
	config *tls.Config
	cache  *reprise.Cache
}

// server returns a server, with the same randomness each time.
func (s scenario) server(t *testing.T) flightServer {
	t.Helper()
	name := s.certificate
	if name == "" {
		name = "ed25519"
	}
	// Its signatures need no randomness.
	certificate, err := tls.LoadX509KeyPair(flightFile(name+".pem"), flightFile(name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(flightFile("ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, ClientAuth: s.clientAuth, ClientCAs: roots,
	}
	cryptotest.SetGlobalRandom(t, 1)
	cache := newCache(t, reprise.Options{Context: []byte("flights")})
	return flightServer{config, cache}
}

// serve makes one connection, and tells what came of it.
func (f flightServer) serve(conn net.Conn) (flight, error) {
	server := native.Server(conn, f.config, f.cache)
	defer server.Close()
	message, err := io.ReadAll(server)
	state := server.ConnectionState()
	result := flight{
		Reason: server.Reason().String(), Suite: tls.CipherSuiteName(state.CipherSuite), Curve: state.CurveID.String(),
		ALPN: state.NegotiatedProtocol, Name: state.ServerName, Message: string(message),
	}
	if len(state.PeerCertificates) > 0 {
		result.Peer = state.PeerCertificates[0].Subject.CommonName
	}
	return result, err
}

// record records the flights of a scenario.
func (s scenario) record(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := s.server(t)
	dir := t.TempDir()
	session, settings := filepath.Join(dir, "session.pem"), filepath.Join(dir, "openssl.cnf")
	all := "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n" + s.settings + "\n"
	if err := os.WriteFile(settings, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	var flights []flight
	for i := range s.connections {
		// Which other suites are chosen depends on the machine.
		args := append([]string{
			"s_client", "-connect", l.Addr().String(), "-servername", "a.example", "-tls1_2", "-sess_out", session,
			"-cipher", "ECDHE+AESGCM",
		}, s.args...)
		if i > 0 {
			args = append(args, "-sess_in", session)
		}
		command := exec.Command("openssl", args...)
		command.Env = append(os.Environ(), "OPENSSL_CONF="+settings)
		command.Stdin = strings.NewReader("Hello\n")
		var output bytes.Buffer
		command.Stdout, command.Stderr = &output, &output
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
		raw, err := l.Accept()
		if err != nil {
			_ = command.Wait()
			t.Fatalf("%s: %v\n%s", command, err, output.Bytes())
		}
		recorded := &recorder{Conn: raw}
		result, err := server.serve(recorded)
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output.Bytes())
		}
		result.Client = recorded.bytes
		flights = append(flights, result)
	}
	encoded, err := json.MarshalIndent(flights, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(), append(encoded, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRecordedFlights: what OpenSSL has sent completes handshakes, resumes and is read, however it is cut into segments.
func TestRecordedFlights(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if *update {
				s.record(t)
			}
			flights := s.load(t)
			for name, cut := range map[string]func(io.Reader) io.Reader{
				"as it comes": func(r io.Reader) io.Reader { return r },
				"in bytes":    iotest.OneByteReader,
			} {
				server := s.server(t)
				for i, want := range flights {
					got, err := server.serve(&readerConn{Reader: cut(bytes.NewReader(want.Client))})
					got.Client = want.Client
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%s, connection %d: %v\n%+v, want\n%+v", name, i, err, got, want)
					}
				}
			}
		})
	}
}

// TestTruncatedFlights: a flight that breaks off anywhere is an error, and no session is made of it before the Finished.
func TestTruncatedFlights(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			whole := s.load(t)[0]
			for length := range whole.Client {
				if length%3 != 0 && length > 10 {
					continue
				}
				got, err := s.server(t).serve(&readerConn{Reader: bytes.NewReader(whole.Client[:length])})
				// The records that a client closes with can be missing, as many clients have it.
				if err == nil && got.Reason != whole.Reason || errors.Is(err, io.EOF) {
					t.Fatalf("%d of %d bytes: %v, %+v", length, len(whole.Client), err, got)
				}
				if err == nil && got.Message != "" && got.Message != whole.Message {
					t.Fatalf("%d of %d bytes: the client has said %q", length, len(whole.Client), got.Message)
				}
			}
		})
	}
}

// A readerConn is a connection that reads from a reader, and writes nowhere.
type readerConn struct {
	scripted
	io.Reader
}

func (c *readerConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
