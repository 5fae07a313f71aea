package native_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// An outcome is what a server answers a ClientHello with.
type outcome struct {
	alert int // none if there is none

	suite               uint16
	curve               tls.CurveID
	scheme              tls.SignatureScheme
	certificate         string // its name
	alpn                string
	extensions          []uint16 // of the ServerHello, sorted
	downgraded          bool     // the random says that TLS 1.3 could have been had
	asksForCertificate  bool
	certificateRequests []byte // the names of the authorities
}

const none = -1

// answerOf reads what a server has sent.
func answerOf(t *testing.T, output []byte) (o outcome) {
	t.Helper()
	o.alert = none
	var messages []byte
	for _, r := range records(t, output) {
		switch r[0] {
		case alertRecord:
			o.alert = int(r[6])
		case handshakeRecord:
			messages = append(messages, r[5:]...)
		}
	}
	for s := cryptobyte.String(messages); !s.Empty(); {
		var kind uint8
		var body cryptobyte.String
		if !s.ReadUint8(&kind) || !s.ReadUint24LengthPrefixed(&body) || !o.read(kind, body) {
			t.Fatalf("malformed message of the server: %x", messages)
		}
	}
	return o
}

func (o *outcome) read(kind uint8, body cryptobyte.String) bool {
	switch kind {
	case 2:
		return o.readServerHello(body)
	case 11:
		var chain, der cryptobyte.String
		if !body.ReadUint24LengthPrefixed(&chain) || !chain.ReadUint24LengthPrefixed(&der) {
			return false
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return false
		}
		o.certificate = certificate.Subject.CommonName
	case 12:
		var curveType uint8
		var public cryptobyte.String
		return body.ReadUint8(&curveType) && body.ReadUint16((*uint16)(&o.curve)) && body.ReadUint8LengthPrefixed(&public) &&
			body.ReadUint16((*uint16)(&o.scheme))
	case 13:
		o.asksForCertificate = true
		var types, schemes cryptobyte.String
		return body.ReadUint8LengthPrefixed(&types) && body.ReadUint16LengthPrefixed(&schemes) &&
			body.ReadBytes(&o.certificateRequests, len(body))
	}
	return true
}

func (o *outcome) readServerHello(body cryptobyte.String) bool {
	var version uint16
	var random []byte
	var sessionID, extensions cryptobyte.String
	var compression uint8
	if !body.ReadUint16(&version) || version != tls.VersionTLS12 || !body.ReadBytes(&random, 32) || !body.ReadUint8LengthPrefixed(&sessionID) ||
		!body.ReadUint16(&o.suite) || !body.ReadUint8(&compression) {
		return false
	}
	o.downgraded = string(random[24:]) == "DOWNGRD\x01"
	if body.Empty() {
		return true
	}
	if !body.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		o.extensions = append(o.extensions, kind)
		if kind == 16 {
			o.alpn = string(data[3:])
		}
	}
	slices.Sort(o.extensions)
	return true
}

// negotiatedBy returns what each engine answers a ClientHello with.
func negotiatedBy(t *testing.T, hello []byte, config *tls.Config) (standard, own outcome) {
	t.Helper()
	input := helloRecords(hello)
	conn := &captured{scripted: scripted{input: input}}
	_ = tls.Server(conn, config.Clone()).Handshake() // ends with the input at the latest
	standard = answerOf(t, conn.output)
	conn = &captured{scripted: scripted{input: input}}
	_ = native.Server(conn, config, newCache(t, reprise.Options{Context: []byte("test")})).Handshake()
	return standard, answerOf(t, conn.output)
}

// helloRecords returns a ClientHello with its header, in records.
func helloRecords(body []byte) (all []byte) {
	m := append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	for part := range slices.Chunk(m, 1<<14) {
		all = append(all, plainRecord(handshakeRecord, part...)...)
	}
	return all
}

// differs tells in what the engines differ, if they may not.
func differs(hello []byte, standard, own outcome) string {
	var h wire.ClientHello
	h.Unmarshal(hello)
	switch {
	case standard.alert == none && !isOurs(standard):
		// CBC, static RSA and SHA-1 are crypto/tls's alone.
		return ""
	case standard.alert == none && own.alert == none:
		if fmt.Sprint(standard) != fmt.Sprint(own) {
			return "parameters"
		}
	case standard.alert == none && own.alert == 40 && !slices.Contains(h.SupportedGroups, curveOf[standard.certificate]):
		// The curve of the certificate must be one that the client names: RFC 8422, section 5.3.
	case standard.alert == none:
		return "refused by native"
	case standard.alert == 86 && h.Version < tls.VersionTLS12:
		// A client that offers TLS 1.2 by an extension, with an older version beside it, which RFC 8446, section 4.2.1, forbids.
	case own.alert == none:
		return "refused by crypto/tls"
	case standard.alert == 109 && own.alert == 47:
		// No uncompressed points: RFC 8422, section 5.1.2, says illegal_parameter.
	case standard.alert == 86 && own.alert == 40:
		// crypto/tls had chosen what is its alone.
	case standard.alert != own.alert:
		return "alert"
	}
	return ""
}

// curveOf is the curve of each certificate that has one.
var curveOf = map[string]tls.CurveID{"certificate 0": tls.CurveP256, "certificate 1": tls.CurveP384}

// isOurs tells whether package native can do what crypto/tls has negotiated.
func isOurs(o outcome) bool {
	return slices.Contains(ourSuites, o.suite) &&
		o.scheme != tls.PKCS1WithSHA1 && o.scheme != tls.ECDSAWithSHA1
}

var ourSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// A generator makes ClientHellos and configurations.
type generator struct {
	*mathrand.Rand
	certificates []tls.Certificate
	pool         *x509.CertPool
}

func newGenerator(t testing.TB, seed uint64) *generator {
	t.Helper()
	g := &generator{Rand: mathrand.New(mathrand.NewPCG(seed, 0)), pool: x509.NewCertPool()}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	short, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	for i, key := range []any{p256, p384, short, edwards} {
		g.certificates = append(g.certificates, selfSigned(t, fmt.Sprint("certificate ", i), key))
	}
	g.pool.AddCert(g.certificates[0].Leaf)
	return g
}

func selfSigned(t testing.TB, name string, key any) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"a.example"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	signer := key.(crypto.Signer)
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// some returns some of the elements, one at least, in any order, mostly most of them.
func some[T any](g *generator, all ...T) []T {
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := len(all) - g.IntN(len(all))*g.IntN(2)
	return all[:n]
}

func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// mostly returns the first, or now and then one of the others.
func mostly[T any](g *generator, usual T, others ...T) T {
	if g.oneIn(12) {
		return pick(g, others...)
	}
	return usual
}

func pick[T any](g *generator, all ...T) T { return all[g.IntN(len(all))] }

// hello returns the body of a ClientHello.
func (g *generator) hello(t *testing.T) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddUint16(mostly[uint16](g, tls.VersionTLS12, tls.VersionTLS11))
	b.AddBytes(make([]byte, 32))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, pick(g, 0, 0, 1, 32))) })
	addList(&b, some[uint16](g, append(slices.Clone(ourSuites), 0x0a0a, tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, 0x00ff, 0x5600)[:len(ourSuites)+g.IntN(9)]...))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddBytes(mostly(g, []byte{0}, []byte{1, 0}, []byte{1}))
	})
	if g.oneIn(30) {
		return b.BytesOrPanic()
	}
	b.AddUint16LengthPrefixed(g.addExtensions)
	return b.BytesOrPanic()
}

func addList[T ~uint16](b *cryptobyte.Builder, list []T) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range list {
			b.AddUint16(uint16(v))
		}
	})
}

func (g *generator) addExtensions(b *cryptobyte.Builder) {
	kinds := []uint16{0, 5, 10, 11, 13, 16, 18, 23, 35, 43, 0xff01, 0x1a1a, 17}
	if g.oneIn(4) {
		kinds = some(g, kinds...)
	}
	for _, kind := range kinds {
		b.AddUint16(kind)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { g.addExtension(b, kind) })
	}
}

func (g *generator) addExtension(b *cryptobyte.Builder, kind uint16) {
	switch kind {
	case 0:
		name := mostly(g, "a.example", "www.a.example", "A.Example", "other", "a\x00b", "1.2.3.4", "a.example.")
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(mostly[uint8](g, 0, 1))
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		})
	case 5:
		b.AddBytes([]byte{1, 0, 0, 0, 0})
	case 10:
		addList(b, some(g, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768, 0x2a2a))
	case 11:
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(mostly(g, []byte{0}, []byte{0, 1}, []byte{1})) })
	case 13:
		addList(b, some(g, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384,
			tls.PKCS1WithSHA512, tls.PKCS1WithSHA1, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
			tls.ECDSAWithSHA1, tls.Ed25519, 0x3a3a))
	case 16:
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, protocol := range some(g, "h2", "http/1.1", "other") {
				b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(protocol)) })
			}
		})
	case 35:
		b.AddBytes(make([]byte, pick(g, 0, 0, 32, 100)))
	case 43:
		// TLS 1.3 is left to crypto/tls, so mostly there is none.
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, version := range some[uint16](g, tls.VersionTLS12, tls.VersionTLS12, tls.VersionTLS11, 0x4a4a) {
				b.AddUint16(version)
			}
		})
	case 0xff01:
		b.AddBytes(mostly(g, []byte{0}, []byte{1, 7}))
	}
}

// config returns the configuration of a server.
func (g *generator) config() *tls.Config {
	certificates := some(g, slices.Clone(g.certificates)...)
	config := &tls.Config{Certificates: certificates}
	if g.oneIn(2) {
		config.NextProtos = some(g, "h2", "http/1.1", "own")
	}
	if g.oneIn(3) {
		config.CipherSuites = some(g, append(slices.Clone(ourSuites), tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)...)
	}
	if g.oneIn(3) {
		config.CurvePreferences = some(g, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521)
	}
	if g.oneIn(3) {
		config.MaxVersion = tls.VersionTLS12
	}
	if g.oneIn(4) {
		config.ClientAuth = tls.ClientAuthType(g.IntN(5))
		config.ClientCAs = pick(g, nil, g.pool)
	}
	if g.oneIn(4) {
		config.SessionTicketsDisabled = true
	}
	if g.oneIn(4) {
		certificate := pick(g, certificates...)
		config.Certificates[0].OCSPStaple = []byte("staple")
		config.Certificates[0].SignedCertificateTimestamps = [][]byte{[]byte("timestamp")}
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	if g.oneIn(6) {
		config.Certificates[0].SupportedSignatureAlgorithms = some(g, tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.ECDSAWithP256AndSHA256, tls.Ed25519)
	}
	if g.oneIn(5) {
		chosen := config.Clone()
		config = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }}
	}
	return config
}

// TestNegotiatesAsStandard: many ClientHellos and configurations, made at random, lead to the same in both engines.
func TestNegotiatesAsStandard(t *testing.T) {
	n, seed := 1500, uint64(1)
	if os.Getenv("REPRISE_SOAK") != "" {
		n, seed = 100_000, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	g := newGenerator(t, seed)
	counts := make(map[string]int)
	for i := range n {
		hello, config := g.hello(t), g.config()
		standard, own := negotiatedBy(t, hello, config)
		switch {
		case standard.alert == none && own.alert == none:
			counts["negotiated"]++
		case standard.alert == none:
			counts["left to crypto/tls"]++
		default:
			counts[fmt.Sprint("alert ", standard.alert)]++
		}
		if n, _ := native.Peek(helloRecords(hello), nil, config); n != nil && (standard.alert != none || !isOurs(standard)) {
			t.Errorf("%d: taken from crypto/tls, which would do it otherwise: %+v\nhello %x", i, standard, hello)
		}
		if what := differs(hello, standard, own); what != "" {
			t.Errorf("%d: %s\ncrypto/tls %+v\nnative     %+v\nhello %x", i, what, standard, own, hello)
			if i > 100 && t.Failed() {
				break
			}
		}
	}
	t.Log(counts)
	if counts["negotiated"] < n/10 {
		t.Errorf("only %d of %d were negotiated", counts["negotiated"], n)
	}
}
