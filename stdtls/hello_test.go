package stdtls_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// A hello is a ClientHello that no honest client sends.
type hello struct {
	version    uint16
	serverName string
	ticket     []byte   // TLS 1.2; nil: no session_ticket extension
	identities [][]byte // TLS 1.3; with binders of zeros
	noEMS      bool
	from       string // the client's address; empty: any
}

// marshal returns the hello as one record.
func (h *hello) marshal(t *testing.T) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var w cryptobyte.Builder
	w.AddUint8(22) // handshake
	w.AddUint16(tls.VersionTLS10)
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		w.AddUint8(1) // client_hello
		w.AddUint24LengthPrefixed(func(w *cryptobyte.Builder) {
			w.AddUint16(tls.VersionTLS12)
			w.AddBytes(random(32))
			w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(random(32)) }) // session_id
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
				w.AddUint16(tls.TLS_AES_128_GCM_SHA256)
				w.AddUint16(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
			})
			w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddUint8(0) }) // no compression
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { h.addExtensions(w, key.PublicKey().Bytes()) })
		})
	})
	record, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func (h *hello) addExtensions(w *cryptobyte.Builder, keyShare []byte) {
	extension := func(id uint16, body func(*cryptobyte.Builder)) {
		w.AddUint16(id)
		w.AddUint16LengthPrefixed(body)
	}
	list16 := func(values ...uint16) func(*cryptobyte.Builder) {
		return func(w *cryptobyte.Builder) {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
				for _, v := range values {
					w.AddUint16(v)
				}
			})
		}
	}
	if h.serverName != "" {
		extension(0, func(w *cryptobyte.Builder) {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
				w.AddUint8(0)
				w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes([]byte(h.serverName)) })
			})
		})
	}
	extension(10, list16(uint16(tls.X25519)))                 // supported_groups
	extension(13, list16(uint16(tls.ECDSAWithP256AndSHA256))) // signature_algorithms
	if !h.noEMS {
		extension(23, func(*cryptobyte.Builder) {})
	}
	if h.version < tls.VersionTLS13 {
		if h.ticket != nil {
			extension(35, func(w *cryptobyte.Builder) { w.AddBytes(h.ticket) })
		}
		return
	}
	extension(43, func(w *cryptobyte.Builder) { // supported_versions
		w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddUint16(tls.VersionTLS13) })
	})
	extension(45, func(w *cryptobyte.Builder) { // psk_key_exchange_modes: psk_dhe_ke
		w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddUint8(1) })
	})
	extension(51, func(w *cryptobyte.Builder) { // key_share
		w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
			w.AddUint16(uint16(tls.X25519))
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(keyShare) })
		})
	})
	if len(h.identities) > 0 {
		extension(41, h.addIdentities)
	}
}

func (h *hello) addIdentities(w *cryptobyte.Builder) {
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		for _, identity := range h.identities {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(identity) })
			w.AddUint32(0) // obfuscated_ticket_age
		}
	})
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		for range h.identities {
			w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(make([]byte, 32)) })
		}
	})
}

// send sends the hello on a connection of its own, returns the first bytes of the answer, and goes away.
func (h *hello) send(t *testing.T, addr string) (answer []byte) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(h.from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(h.marshal(t)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyN(&got, conn, 6); err != nil && got.Len() == 0 {
		return nil // closed without an answer
	}
	return got.Bytes()
}

// isServerHello tells whether an answer begins with a ServerHello.
func isServerHello(answer []byte) bool { return len(answer) == 6 && answer[0] == 22 && answer[5] == 2 }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func randomIdentities(n int) [][]byte {
	identities := make([][]byte, n)
	for i := range identities {
		identities[i] = random(32)
	}
	return identities
}
