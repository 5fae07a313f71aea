package backend_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/backend"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A handshaker hands out connections whose handshake is complete.
type handshaker struct{ net.Listener }

func (l handshaker) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		_ = conn.(*tls.Conn).Handshake()
	}
	return conn, err
}

// serveTLS runs a TCP in front of addr behind TLS, and returns a way to connect to it.
func serveTLS(t *testing.T, addr string, proxyProtocol bool) (p *backend.TCP, l net.Listener, dial func() *tls.Conn) {
	t.Helper()
	pair, err := certs.SelfSigned(t.TempDir(), []string{"site.example"})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	inner := listen(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"proto"}}
	l = handshaker{tls.NewListener(inner, config)}
	p = backend.NewTCP(addr, proxyProtocol, discard)
	go func() {
		if err := p.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	return p, l, func() *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{
			InsecureSkipVerify: true, ServerName: "site.example", NextProtos: []string{"proto"},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

// TestTCPHalfClose: the backend answers only when the client has said that it is done.
func TestTCPHalfClose(t *testing.T) {
	behind := listen(t)
	go func() {
		conn, err := behind.Accept()
		if err != nil {
			return
		}
		request, _ := io.ReadAll(conn)
		_, _ = conn.Write(append([]byte("got "), request...))
		_ = conn.Close()
	}()
	_, _, dial := serveTLS(t, behind.Addr().String(), false)
	conn := dial()
	if _, err := conn.Write([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if string(answer) != "got all of it" || err != nil {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestTCPProxyHeader(t *testing.T) {
	behind := listen(t)
	_, _, dial := serveTLS(t, behind.Addr().String(), true)
	conn := dial()
	if _, err := conn.Write([]byte("payload")); err != nil {
		t.Fatal(err)
	}
	accepted, err := behind.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	reader := bufio.NewReader(accepted)
	header, err := proxyproto.Read(reader)
	if err != nil {
		t.Fatal(err)
	}
	if header.Version != 2 || header.SourceAddr.String() != conn.LocalAddr().String() {
		t.Errorf("header of version %d from %s, want 2 from %s", header.Version, header.SourceAddr, conn.LocalAddr())
	}
	tlvs, err := header.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	ssl, ok := tlvparse.FindSSL(tlvs)
	version, _ := ssl.SSLVersion()
	if !ok || !ssl.ClientSSL() || ssl.Verified() || version != "TLS 1.3" {
		t.Errorf("TLS part of the header: %+v", ssl)
	}
	values := map[proxyproto.PP2Type]string{}
	for _, tlv := range tlvs {
		values[tlv.Type] = string(tlv.Value)
	}
	if values[proxyproto.PP2_TYPE_AUTHORITY] != "site.example" || values[proxyproto.PP2_TYPE_ALPN] != "proto" {
		t.Errorf("server name and protocol of the header: %q", values)
	}
	payload := make([]byte, len("payload"))
	if _, err := io.ReadFull(reader, payload); err != nil || string(payload) != "payload" {
		t.Errorf("after the header: %q, %v", payload, err)
	}
}

func TestTCPBackendDown(t *testing.T) {
	_, _, dial := serveTLS(t, "127.0.0.1:1", false)
	conn := dial()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read: %v, want EOF", err)
	}
}

func TestTCPShutdown(t *testing.T) {
	behind := listen(t)
	p, l, dial := serveTLS(t, behind.Addr().String(), false)
	conn := dial()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	server, err := behind.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown with an open connection: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the client's connection is still open")
	}
	if _, err := io.ReadAll(server); err != nil {
		t.Errorf("the backend's connection: %v", err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown without connections: %v", err)
	}
}
