package native_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// FuzzPeek: of whatever comes, Peek takes from crypto/tls only what that would answer in the same way. crypto/tls may still refuse it
// because of an extension that it reads, and this engine does not.
func FuzzPeek(f *testing.F) {
	for i, s := range scenarios {
		input := s.load(f)[0].Client
		f.Add(uint8(i), input[:5+(int(input[3])<<8|int(input[4]))])
	}
	// Once it was taken, and got another group than crypto/tls would have chosen.
	prefersP521 := bytes.Replace(helloWith(nil, 0), supportedGroups, []byte{0, 10, 0, 6, 0, 4, 0, 25, 0, 29}, 1)
	f.Add(uint8(0), prefersP521)
	f.Add(uint8(0), helloWith(nil, 1))
	f.Add(uint8(0), helloWith(nil, 0, renegotiation))
	configs := make([]*tls.Config, 16)
	for i, g := 0, newGenerator(f, 1); i < len(configs); {
		if configs[i] = g.config(); native.CanPeek(configs[i]) {
			i++
		}
	}
	f.Fuzz(func(t *testing.T, choose uint8, input []byte) {
		config := configs[int(choose)%len(configs)]
		n, ok := native.Peek(bytes.Clone(input), &scripted{}, config)
		if n == nil {
			return
		}
		if !ok {
			t.Fatal("a negotiation, and it is not known")
		}
		conn := &captured{scripted: scripted{input: input}}
		_ = tls.Server(conn, config.Clone()).Handshake() // ends with the input at the latest
		standard := answerOf(t, conn.output)
		if standard.alert != none {
			return
		}
		conn = &captured{}
		_ = native.ServerNegotiated(conn, bytes.Clone(input), n, newCache(t, reprise.Options{Context: []byte("fuzz")})).Handshake()
		own := answerOf(t, conn.output)
		if own.suite != 0 {
			own.alert = none // of what comes behind the ClientHello
		}
		if fmt.Sprint(own) != fmt.Sprint(standard) {
			t.Errorf("%+v\ncrypto/tls: %+v", own, standard)
		}
	})
}
