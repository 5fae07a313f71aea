package native_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// A captured connection is a scripted one that keeps what is written to it.
type captured struct {
	scripted
	output []byte
}

func (c *captured) Write(b []byte) (int, error) {
	c.output = append(c.output, b...)
	return len(b), nil
}

// records cuts a stream of bytes.
func records(t *testing.T, b []byte) (all [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n := 5 + (int(b[3])<<8 | int(b[4]))
		all = append(all, b[:n])
		b = b[n:]
	}
	return all
}

func plainRecord(kind byte, content ...byte) []byte {
	return append([]byte{kind, 3, 3, byte(len(content) >> 8), byte(len(content))}, content...)
}

const (
	changeCipherSpec = 20
	alertRecord      = 21
	handshakeRecord  = 22
	applicationData  = 23
)

// TestOutOfTurn: what comes out of turn or is malformed ends the handshake, with the one alert that the RFC has for it.
func TestOutOfTurn(t *testing.T) {
	authority, certificate := certtest.Shared(t)
	server := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: authority.Pool()}
	flight := records(t, clientFlight(t, server, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12}))
	hello, keyExchange, ccs := flight[0], flight[1], flight[2]
	warning := plainRecord(alertRecord, 1, 90)
	const noAlert = -1
	for _, test := range []struct {
		name  string
		input [][]byte
		alert int
	}{
		{"ChangeCipherSpec first", [][]byte{ccs, hello}, 10},
		{"early ChangeCipherSpec", [][]byte{hello, ccs}, 10}, // CVE-2014-0224
		{"ChangeCipherSpec twice", [][]byte{hello, keyExchange, ccs, ccs}, 20},
		{"ChangeCipherSpec within a message", [][]byte{hello, plainRecord(handshakeRecord, keyExchange[5:20]...), ccs}, 10},
		{"message behind the last one in clear", [][]byte{hello, plainRecord(handshakeRecord, append(bytes.Clone(keyExchange[5:]), 20, 0)...), ccs}, 10},
		{"malformed ChangeCipherSpec", [][]byte{hello, keyExchange, plainRecord(changeCipherSpec, 1, 1)}, 50},
		{"Finished in clear", [][]byte{hello, keyExchange, plainRecord(handshakeRecord, append([]byte{20, 0, 0, 12}, make([]byte, 12)...)...)}, 10},
		{"Finished of another connection", flight[:4], 20},
		{"ClientHello twice", [][]byte{hello, hello}, 10},
		{"message behind the ClientHello", [][]byte{plainRecord(handshakeRecord, append(bytes.Clone(hello[5:]), 16)...)}, 10},
		{"no ClientHello", [][]byte{keyExchange}, 10},
		{"HelloRequest", [][]byte{plainRecord(handshakeRecord, 0, 0, 0, 0)}, 10},
		{"unasked Certificate", [][]byte{hello, plainRecord(handshakeRecord, 11, 0, 0, 3, 0, 0, 0)}, 10},
		{"unasked CertificateVerify", [][]byte{hello, keyExchange, plainRecord(handshakeRecord, 15, 0, 0, 4, 4, 3, 0, 0)}, 10},
		{"application data", [][]byte{hello, plainRecord(applicationData, 1)}, 10},
		{"empty application data", [][]byte{plainRecord(applicationData)}, 10},
		{"empty handshake record", [][]byte{plainRecord(handshakeRecord)}, 10},
		{"message of 16 MiB", [][]byte{plainRecord(handshakeRecord, 1, 255, 255, 255)}, 47},
		{"record of unknown type", [][]byte{plainRecord(24, 1)}, 10},
		{"record of SSL 2", [][]byte{{22, 2, 0, 0, 1, 0}}, 70},
		{"too long a record", [][]byte{{22, 3, 1, 0x40, 1}}, 22},
		{"public key off the curve", [][]byte{hello, plainRecord(handshakeRecord, append([]byte{16, 0, 0, 33, 32}, make([]byte, 32)...)...)}, 47},
		{"too many warnings", slices.Concat([][]byte{hello}, slices.Repeat([][]byte{warning}, 17)), 10},
		{"warning within a message", [][]byte{hello, plainRecord(handshakeRecord, 16), warning}, 10},
		{"malformed alert", [][]byte{hello, plainRecord(alertRecord, 1)}, 50},
		{"close_notify", [][]byte{hello, plainRecord(alertRecord, 1, 0)}, noAlert},
		{"fatal alert", [][]byte{hello, plainRecord(alertRecord, 2, 40)}, noAlert},
		{"end of the stream", [][]byte{hello, keyExchange}, noAlert},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := &captured{scripted: scripted{input: bytes.Join(test.input, nil)}}
			cache := newCache(t, reprise.Options{})
			s := native.Server(conn, server, cache)
			if err := s.Handshake(); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("handshake: %v", err)
			}
			s.Close()
			var alerts []int
			for _, r := range records(t, conn.output) {
				if r[0] == alertRecord {
					if len(r) != 7 || r[5] != 2 {
						t.Errorf("alert %x", r)
					}
					alerts = append(alerts, int(r[6]))
				} else if len(alerts) > 0 {
					t.Errorf("a record of type %d after the alert", r[0])
				}
			}
			want := []int{test.alert}
			if test.alert == noAlert {
				want = nil
			}
			if !slices.Equal(alerts, want) {
				t.Errorf("alerts %v, want %v", alerts, want)
			}
			if n := cache.Stats().Number; n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}
