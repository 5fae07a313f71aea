package sslsession_test

import (
	"encoding/pem"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/reprise-tls/reprise/sslsession"
)

// suites are cipher suites that every build of OpenSSL 3 knows, with the names it has for them.
var suites = map[uint16]string{
	0x009c: "AES128-GCM-SHA256",
	0xc013: "ECDHE-RSA-AES128-SHA",
	0xc02b: "ECDHE-ECDSA-AES128-GCM-SHA256",
	0xc02c: "ECDHE-ECDSA-AES256-GCM-SHA384",
	0xc02f: "ECDHE-RSA-AES128-GCM-SHA256",
	0xc030: "ECDHE-RSA-AES256-GCM-SHA384",
	0xcca8: "ECDHE-RSA-CHACHA20-POLY1305",
	0xcca9: "ECDHE-ECDSA-CHACHA20-POLY1305",
	0x1301: "TLS_AES_128_GCM_SHA256",
	0x1302: "TLS_AES_256_GCM_SHA384",
	0x1303: "TLS_CHACHA20_POLY1305_SHA256",
}

// readCertificates reads certificates that are the same each time, so that a seed makes the same sessions.
func readCertificates(t *testing.T) (certificates [][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/certificates.pem")
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		certificates = append(certificates, block.Bytes)
	}
	return certificates
}

// A generator makes sessions of any content that OpenSSL 3.0 can hold.
type generator struct {
	*rand.Rand
	certificates [][]byte
}

func newGenerator(t *testing.T) generator {
	t.Helper()
	return generator{newRand(t), readCertificates(t)}
}

func (g generator) session() *sslsession.SSLSession {
	x := &sslsession.SSLSession{
		Version:            pick[uint16](g, 0x0303, 0x0304, 0x0303, 0x0304, 0x0301, 0x0302, 0xfefd, 0x0100),
		CipherSuite:        g.suite(),
		SessionID:          g.bytes(pick(g, 32, 32, 32, 0, 1, 31, g.IntN(33))),
		Secret:             g.bytes(pick(g, 48, 48, 32, 0, 1, 512, g.IntN(513))),
		Time:               1 + int64(g.number(31)),
		Timeout:            1 + int64(g.number(31)),
		SessionIDContext:   g.bytes(pick(g, 0, 4, 32, g.IntN(33))),
		VerifyResult:       int32(g.number(32)),
		ServerName:         g.optional(g.text),
		PSKIdentityHint:    g.optional(g.text),
		PSKIdentity:        g.optional(g.text),
		TicketLifetimeHint: g.number(64),
		Ticket:             g.optional(g.any),
		Compression:        uint8(g.number(8)),
		SRPUsername:        g.optional(g.text),
		Flags:              uint32(g.number(32)),
		TicketAgeAdd:       uint32(g.number(32)),
		MaxEarlyData:       uint32(g.number(32)),
		ALPN:               g.optional(g.any),
		MaxFragmentLength:  uint8(g.number(8)),
		TicketAppData:      g.optional(g.any),
		KeyExchangeGroup:   uint32(g.number(31)),
	}
	if g.IntN(3) == 0 {
		x.PeerCertificate = pick(g, g.certificates...)
	}
	return x
}

func (g generator) suite() uint16 {
	codes := make([]uint16, 0, len(suites))
	for code := range suites {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return pick(g, codes...)
}

// pick returns one of the values.
func pick[T any](g generator, values ...T) T { return values[g.IntN(len(values))] }

// number returns a number of so many bits: often 0, else as likely a short one as a long one.
func (g generator) number(bits int) uint64 {
	if g.IntN(3) == 0 {
		return 0
	}
	return g.Uint64() >> (64 - 1 - g.IntN(bits))
}

func (g generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// optional returns nothing, or something that may be empty.
func (g generator) optional(value func() []byte) []byte {
	switch g.IntN(6) {
	case 0, 1, 2:
		return nil
	case 3:
		return []byte{}
	default:
		return value()
	}
}

func (g generator) any() []byte { return g.bytes(g.IntN(pick(g, 4, 200, 2000))) }

// text returns what fits in a C string.
func (g generator) text() []byte {
	b := g.bytes(g.IntN(260))
	for i := range b {
		b[i] |= 1
	}
	return b
}
