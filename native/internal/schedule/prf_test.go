package schedule_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/native/internal/schedule"
)

// TestPRFVector is the well-known vector for P_SHA256 of the IETF's TLS mailing list.
func TestPRFVector(t *testing.T) {
	suite := schedule.SuiteByID(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	secret := unhex("9b be 43 6b a9 40 f0 17 b1 76 52 84 9a 71 db 35")
	seed := unhex("a0 ba 9f 93 6c da 31 18 27 a6 f7 96 ff d5 19 8c")
	want := unhex("e3 f2 29 ba 72 7b e1 7b 8d 12 26 20 55 7c d4 53 c2 aa b2 1d 07 c3 d4 95 32 9b 52 d4 e6 1e db 5a" +
		"6b 30 17 91 e9 0d 35 c9 c9 a4 6b 4e 14 ba f9 af 0f a0 22 f7 07 7d ef 17 ab fd 37 97 c0 56 4b ab" +
		"4f bc 91 66 6e 9d ef 9b 97 fc e3 4f 79 67 89 ba a4 80 82 d1 22 ee 42 c5 a7 2e 5a 51 10 ff f7 01" +
		"87 34 7b 66")
	prf := schedule.NewPRF(suite, secret)
	for _, seeds := range [][][]byte{{seed}, {seed[:5], seed[5:]}} { // also when it is used again
		got := make([]byte, len(want))
		prf.Expand(got, "test label", seeds...)
		if !bytes.Equal(got, want) {
			t.Errorf("PRF = %x", got)
		}
	}
}

func TestSuites(t *testing.T) {
	for _, id := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	} {
		s := schedule.SuiteByID(id)
		if s == nil || s.AEAD(make([]byte, s.KeyLength)).NonceSize() != 12 {
			t.Errorf("suite %s", tls.CipherSuiteName(id))
		}
	}
	if schedule.SuiteByID(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA) != nil {
		t.Error("a CBC suite")
	}
}
