// Package hellotest makes ClientHellos for tests.
package hellotest

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// A Hello is a ClientHello that no honest client sends.
type Hello struct {
	// Version is tls.VersionTLS13, or tls.VersionTLS12 without what is new in TLS 1.3.
	Version    uint16
	ServerName string
	// Ticket is the content of the session_ticket extension in TLS 1.2; nil means none.
	Ticket []byte
	// Identities are the PSK identities of TLS 1.3, with binders of zeros.
	Identities [][]byte
	// NoExtendedMasterSecret and NoSignatureAlgorithms leave out the extensions.
	NoExtendedMasterSecret, NoSignatureAlgorithms bool
}

// Marshal returns the hello as one record.
func (h *Hello) Marshal(tb testing.TB) []byte {
	tb.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	var w cryptobyte.Builder
	w.AddUint8(22) // handshake
	w.AddUint16(tls.VersionTLS10)
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		w.AddUint8(1) // client_hello
		w.AddUint24LengthPrefixed(func(w *cryptobyte.Builder) {
			w.AddUint16(tls.VersionTLS12)
			w.AddBytes(random())
			w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(random()) }) // session_id
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
		tb.Fatal(err)
	}
	return record
}

func (h *Hello) addExtensions(w *cryptobyte.Builder, keyShare []byte) {
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
	if h.ServerName != "" {
		extension(0, func(w *cryptobyte.Builder) {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
				w.AddUint8(0)
				w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes([]byte(h.ServerName)) })
			})
		})
	}
	extension(10, list16(uint16(tls.X25519))) // supported_groups
	if !h.NoSignatureAlgorithms {
		extension(13, list16(uint16(tls.ECDSAWithP256AndSHA256)))
	}
	if !h.NoExtendedMasterSecret {
		extension(23, func(*cryptobyte.Builder) {})
	}
	if h.Version < tls.VersionTLS13 {
		if h.Ticket != nil {
			extension(35, func(w *cryptobyte.Builder) { w.AddBytes(h.Ticket) })
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
	if len(h.Identities) > 0 {
		extension(41, h.addIdentities)
	}
}

func (h *Hello) addIdentities(w *cryptobyte.Builder) {
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		for _, identity := range h.Identities {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(identity) })
			w.AddUint32(0) // obfuscated_ticket_age
		}
	})
	w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) {
		for range h.Identities {
			w.AddUint8LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(make([]byte, 32)) })
		}
	})
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}
