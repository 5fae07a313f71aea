package wire_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/native/internal/wire"
)

// goHello returns the body of a ClientHello that crypto/tls makes.
func goHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		client.SetDeadline(time.Now().Add(5 * time.Second))
		_ = tls.Client(client, config).Handshake() // fails: nobody answers
		client.Close()
	}()
	var header [9]byte
	if _, err := io.ReadFull(server, header[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[6])<<16|int(header[7])<<8|int(header[8]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestClientHelloOfGo(t *testing.T) {
	body := goHello(t, &tls.Config{ServerName: "www.example", NextProtos: []string{"h2", "http/1.1"}, MaxVersion: tls.VersionTLS12})
	var m wire.ClientHello
	if !m.Unmarshal(body) {
		t.Fatal("not well-formed")
	}
	if m.ServerName != "www.example" || len(m.ALPN) != 2 || !m.ExtendedMasterSecret || !m.StatusRequest || !m.SCT ||
		len(m.SessionTicket) > 0 || !m.OffersNoCompression() || m.RenegotiationInfo == nil ||
		!m.Offers(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) || len(m.OfferedVersions()) != 1 || len(m.SignatureAlgorithms) == 0 {
		t.Errorf("%+v", m)
	}
	for n := range len(body) {
		if m.Unmarshal(body[:n]) && n != 0 {
			// Only without any extensions is a prefix a hello.
			if len(m.Extensions) > 0 {
				t.Errorf("well-formed after %d of %d bytes", n, len(body))
			}
		}
	}
	if m.Unmarshal(append(bytes.Clone(body), 0)) {
		t.Error("well-formed with a byte behind it")
	}
}

func FuzzClientHello(f *testing.F) {
	f.Add(goHello(f, &tls.Config{ServerName: "www.example", NextProtos: []string{"h2"}}))
	f.Add(goHello(f, &tls.Config{ServerName: "www.example", MaxVersion: tls.VersionTLS12}))
	f.Add(goHello(f, &tls.Config{ServerName: "www\x00.example", MaxVersion: tls.VersionTLS12})) // once refused
	f.Fuzz(func(t *testing.T, body []byte) {
		var m wire.ClientHello
		offers := wire.OffersVersion(body, tls.VersionTLS13)
		if !m.Unmarshal(body) {
			return
		}
		if len(m.Random) != 32 || len(m.SessionID) > 32 || len(m.CompressionMethods) == 0 {
			t.Errorf("accepted %x", body)
		}
		if offers != slices.Contains(m.SupportedVersions, tls.VersionTLS13) {
			t.Errorf("TLS 1.3 is offered: %v, of %x", offers, body)
		}
	})
}

// FuzzMessages: what is read of a client's message is all that is in it, so it encodes to the same.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0, 0, 9, 0, 0, 1, 48, 0, 0, 2, 48, 0})
	f.Add([]byte{3, 4, 5, 6})
	f.Add([]byte{4, 3, 0, 2, 48, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if chain, ok := wire.UnmarshalCertificate(body); ok {
			again, err := wire.MarshalCertificate(chain)
			if err != nil || !bytes.Equal(again[wire.HeaderLength:], body) {
				t.Errorf("Certificate %x is encoded as %x, %v", body, again, err)
			}
		}
		if scheme, signature, ok := wire.UnmarshalCertificateVerify(body); ok {
			again := binary.BigEndian.AppendUint16(nil, uint16(scheme))
			again = binary.BigEndian.AppendUint16(again, uint16(len(signature)))
			if !bytes.Equal(append(again, signature...), body) {
				t.Errorf("CertificateVerify %x", body)
			}
		}
		if public, ok := wire.UnmarshalClientKeyExchange(body); ok {
			if !bytes.Equal(append([]byte{byte(len(public))}, public...), body) {
				t.Errorf("ClientKeyExchange %x", body)
			}
		}
	})
}
