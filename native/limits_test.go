package native_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/schedule"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// The limits of docs/native.md.
const (
	maxMessage            = 64 << 10
	maxCertificateMessage = 256 << 10
	maxUseless            = 16
	handshakeMemory       = 128 << 10
	certificateMemory     = 3 << 20
)

// padded returns a ClientHello of a length, with its header, in records.
func padded(t *testing.T, length int) []byte {
	t.Helper()
	plain := helloWith(nil, 0)
	padding := make([]byte, length-(len(plain)-5))
	kind := []byte{0, 21, byte((len(padding) - 4) >> 8), byte(len(padding) - 4)} // RFC 7685
	copy(padding, kind)
	body := append(bytes.Clone(plain[9:]), padding...)
	const extensions = 2 + 32 + 1 + 4 + 2 // where their length is
	n := len(body) - extensions - 2
	body[extensions], body[extensions+1] = byte(n>>8), byte(n)
	return helloRecords(body)
}

// TestLongClientHello is accepted up to the limit.
func TestLongClientHello(t *testing.T) {
	if got := answer(t, padded(t, maxMessage)); got[0] != handshakeRecord {
		t.Errorf("a ClientHello of %d bytes is answered with %x", maxMessage, got)
	}
	tooLong := append([]byte{1, 1, 0, 0}, make([]byte, 100)...)
	if got, want := answer(t, plainRecord(handshakeRecord, tooLong...)), plainRecord(alertRecord, 2, 47); !bytes.Equal(got, want) {
		t.Errorf("a ClientHello of %d bytes is answered with %x, want %x", maxMessage+4, got, want)
	}
}

// TestLongClientChain is accepted up to the limit.
func TestLongClientChain(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	client := authority.Client(t, "client", time.Time{})
	leaf, issuer := len(client.Certificate[0])+3, len(authority.Certificate.Raw)+3
	const headers = 4 + 3
	fits := (maxCertificateMessage - headers - leaf) / issuer
	for n, want := range map[int]string{fits: "", fits + 1: "illegal parameter"} {
		shown := client
		shown.Certificate = append(slices.Clone(client.Certificate[:1]), slices.Repeat([][]byte{authority.Certificate.Raw}, n)...)
		a, b := tcpPair(t)
		go func() {
			conn := tls.Client(a, &tls.Config{
				RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown},
			})
			_, _ = conn.Read(make([]byte, 1)) // the server's outcome tells
			conn.Close()
		}()
		server := native.Server(b, &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
		}, newCache(t, reprise.Options{Context: []byte("test")}))
		err := server.Handshake()
		server.Close()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("a chain of %d certificates: %v, want %q", n+1, err, want)
		}
	}
}

// TestWarningsInHandshake: as many as the limit do no harm, and are not part of the transcript. TestOutOfTurn has one more.
func TestWarningsInHandshake(t *testing.T) {
	s := scenarios[0]
	want := s.load(t)[0]
	warnings := bytes.Repeat(plainRecord(alertRecord, 1, 90), maxUseless)
	all := records(t, want.Client)
	input := slices.Concat(all[0], warnings, all[1], warnings, bytes.Join(all[2:], nil))
	got, err := s.server(t).serve(&scripted{input: input})
	if err != nil || got.Message != want.Message {
		t.Errorf("%+v, %v", got, err)
	}
}

// A forger is a client whose records are made by the test, after the handshake.
type forger struct {
	conn   *tls.Conn
	raw    net.Conn
	writer record.Writer
}

// newForger makes a handshake, and gets at the keys by the key log.
func newForger(t *testing.T, cache *reprise.Cache) (*forger, *native.Conn) {
	t.Helper()
	authority, certificate := certtest.Shared(t)
	a, b := tcpPair(t)
	var log bytes.Buffer
	sent := &recorder{Conn: b}
	received := &captured{scripted: scripted{Conn: b}}
	f := &forger{raw: a, conn: tls.Client(a, &tls.Config{
		RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, KeyLogWriter: &log,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})}
	server := native.Server(&tee{sent, received}, &tls.Config{Certificates: []tls.Certificate{certificate}}, cache)
	done := make(chan error, 1)
	go func() { done <- f.conn.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(log.String())
	master, err := hex.DecodeString(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	suite := schedule.SuiteByID(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	const random = 5 + 4 + 2
	keys, _ := schedule.ConnectionKeys(suite, schedule.NewPRF(suite, master), sent.bytes[random:][:32], received.output[random:][:32])
	f.writer.Protect(suite, keys)
	if _, err := f.writer.Append(nil, record.Handshake, make([]byte, 16)); err != nil { // the Finished was the first
		t.Fatal(err)
	}
	return f, server
}

// A tee also writes to another connection.
type tee struct {
	net.Conn
	also io.Writer
}

func (c *tee) Write(b []byte) (int, error) {
	_, _ = c.also.Write(b)
	return c.Conn.Write(b)
}

func (f *forger) send(t *testing.T, kind record.Type, contents ...[]byte) {
	t.Helper()
	for _, content := range contents {
		r, err := f.writer.Append(nil, kind, content)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.raw.Write(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUselessRecords: a few of them in a row are borne, after data as often as one likes.
func TestUselessRecords(t *testing.T) {
	empty, warning := []byte{}, []byte{1, 90}
	for _, test := range []struct {
		name string
		send func(t *testing.T, f *forger, n int)
	}{
		{"empty data", func(t *testing.T, f *forger, n int) {
			f.send(t, record.ApplicationData, slices.Repeat([][]byte{empty}, n)...)
		}},
		{"warnings", func(t *testing.T, f *forger, n int) { f.send(t, record.Alert, slices.Repeat([][]byte{warning}, n)...) }},
		{"both", func(t *testing.T, f *forger, n int) {
			f.send(t, record.ApplicationData, slices.Repeat([][]byte{empty}, n/2)...)
			f.send(t, record.Alert, slices.Repeat([][]byte{warning}, n-n/2)...)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, server := newForger(t, newCache(t, reprise.Options{}))
			for range 3 {
				test.send(t, f, maxUseless)
				f.send(t, record.ApplicationData, []byte("x"))
				if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			test.send(t, f, maxUseless+1)
			if _, err := server.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "unexpected message") {
				t.Errorf("Read: %v, want the alert unexpected message", err)
			}
		})
	}
}

// TestAfterHandshake: what has no place after the handshake ends the connection, with its alert.
func TestAfterHandshake(t *testing.T) {
	for _, test := range []struct {
		name    string
		kind    record.Type
		content []byte
		alert   string
	}{
		{"renegotiation", record.Handshake, append([]byte{1, 0, 0, 40}, make([]byte, 40)...), "no renegotiation"},
		{"HelloRequest", record.Handshake, []byte{0, 0, 0, 0}, "no renegotiation"},
		{"ChangeCipherSpec", record.ChangeCipherSpec, []byte{1}, "unexpected message"},
		{"empty alert", record.Alert, nil, "unexpected message"},
		{"long alert", record.Alert, []byte{1, 90, 0}, "decode error"},
		{"alert of no level", record.Alert, []byte{3, 90}, "illegal parameter"},
		{"empty handshake record", record.Handshake, nil, "unexpected message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := newCache(t, reprise.Options{})
			f, server := newForger(t, cache)
			f.send(t, test.kind, test.content)
			if _, err := server.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "alert: "+test.alert) {
				t.Errorf("Read: %v, want the alert %s", err, test.alert)
			}
			server.Close()
			if n := cache.Stats().Number; n != 0 {
				t.Errorf("%d sessions after a fatal alert", n)
			}
		})
	}
}

// A stalled connection is one whose client has stopped.
type stalled struct {
	scripted
	idle chan struct{} // a value for each read that waits
	end  chan struct{}
}

func (c *stalled) Read(b []byte) (int, error) {
	if len(c.input) > 0 {
		return c.scripted.Read(b)
	}
	c.idle <- struct{}{}
	<-c.end
	return 0, io.EOF
}

// manyProtocols returns a ClientHello that is as long as it may be, with ALPN of as many protocols as there is room for.
func manyProtocols() []byte {
	const most = 32_600
	var b cryptobyte.Builder
	b.AddUint16(16)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(bytes.Repeat([]byte{1, 'a'}, most)) })
	})
	all := helloWith(nil, 0, b.BytesOrPanic())
	return helloRecords(all[9:])
}

// manyCertificates returns a Certificate message of many small certificates, which are long when they are parsed.
func manyCertificates(t *testing.T) (all []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := clientCertificate(t, key.Public())
	m, err := wire.MarshalCertificate(slices.Repeat([][]byte{der}, (maxCertificateMessage-7)/(len(der)+3)))
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(m, 1<<14) {
		all = append(all, plainRecord(handshakeRecord, part...)...)
	}
	return all
}

// TestMemoryOfHandshake: what a client can make the server hold before it has proved anything is bounded, while a message arrives and
// when it was read.
func TestMemoryOfHandshake(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	long := func(kind byte, length int) (all []byte) {
		body := append([]byte{kind, byte((length - 4) >> 16), byte((length - 4) >> 8), byte(length - 4)}, make([]byte, length-4-1)...) // a byte is missing
		for part := range slices.Chunk(body, 1000) {
			all = append(all, plainRecord(handshakeRecord, part...)...)
		}
		return all
	}
	for _, test := range []struct {
		name  string
		input []byte
		limit int
	}{
		{"ClientHello", long(1, maxMessage), handshakeMemory},
		{"Certificate", append(helloWith(nil, 0), long(11, maxCertificateMessage)...), certificateMemory},
		{"many protocols", manyProtocols(), handshakeMemory},
		{"many certificates", append(helloWith(nil, 0), manyCertificates(t)...), certificateMemory},
		{"record", append(helloWith(nil, 0), append([]byte{handshakeRecord, 3, 3, 0x40, 0}, make([]byte, 0x3fff)...)...), handshakeMemory},
	} {
		t.Run(test.name, func(t *testing.T) {
			const n = 50
			config := &tls.Config{Certificates: []tls.Certificate{certificate}}
			if test.limit == certificateMemory {
				config.ClientAuth, config.ClientCAs = tls.RequestClientCert, authority.Pool()
			}
			cache := newCache(t, reprise.Options{Context: []byte("test")})
			conn := func() *stalled {
				return &stalled{scripted: scripted{input: test.input}, idle: make(chan struct{}), end: make(chan struct{})}
			}
			conns := make([]*stalled, n)
			before := heap()
			ended := make(chan struct{})
			for i := range conns {
				conns[i] = conn()
				server := native.Server(conns[i], config, cache)
				go func() {
					if err := server.HandshakeContext(context.Background()); !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("handshake: %v, want %v", err, io.ErrUnexpectedEOF)
					}
					ended <- struct{}{}
				}()
				select {
				case <-conns[i].idle:
				case <-ended:
					t.FailNow()
				}
			}
			if each := (heap() - before) / n; each > test.limit {
				t.Errorf("a connection holds %d bytes, want at most %d", each, test.limit)
			} else {
				t.Logf("a connection holds %d bytes", each)
			}
			for _, c := range conns {
				close(c.end)
				<-ended
			}
		})
	}
}

// heap returns how many bytes are in use, stacks included.
func heap() int {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse)
}
