package sslsession_test

import (
	"bytes"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/sslsession"
)

func TestPEMVectorsComeBackByteForByte(t *testing.T) {
	for name, v := range vectors(t) {
		x, rest, err := sslsession.ParsePEM(v.pem)
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: %d bytes left, error %v", name, len(rest), err)
			continue
		}
		if got, err := x.MarshalPEM(); err != nil || !bytes.Equal(got, v.pem) {
			t.Errorf("%s: written as\n%s\nwant\n%s(%v)", name, got, v.pem, err)
		}
	}
}

func TestParsePEMTakesTheFirstSession(t *testing.T) {
	first, err := fullSession().MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("another")})
	second := vectors(t)["tls13.server.pem"].pem

	input := bytes.Join([][]byte{[]byte("some text\n"), other, first, other, second}, nil)
	x, rest, err := sslsession.ParsePEM(input)
	if err != nil || !reflect.DeepEqual(x, fullSession()) {
		t.Fatalf("read as %#v, error %v", fields(x), err)
	}
	if x, rest, err = sslsession.ParsePEM(rest); err != nil || x.Version != 0x0304 {
		t.Fatalf("the second was read as %#v, error %v", fields(x), err)
	}
	if _, _, err = sslsession.ParsePEM(rest); err == nil {
		t.Error("a third session was found among two")
	}
}

func TestParsePEMRefuses(t *testing.T) {
	der := mustMarshal(t, fullSession())
	encrypted := map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}
	for want, input := range map[string][]byte{
		"no PEM block":       []byte("nothing"),
		"encrypted session":  pem.EncodeToMemory(&pem.Block{Type: sslsession.PEMType, Headers: encrypted, Bytes: der}),
		"followed by 1 byte": pem.EncodeToMemory(&pem.Block{Type: sslsession.PEMType, Bytes: append(bytes.Clone(der), 0)}),
		"not a SEQUENCE":     pem.EncodeToMemory(&pem.Block{Type: sslsession.PEMType, Bytes: der[:len(der)-1]}),
	} {
		if _, _, err := sslsession.ParsePEM(input); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that tells of %q", err, want)
		}
	}
	if _, err := new(sslsession.SSLSession).MarshalPEM(); err == nil {
		t.Error("a session without version was written")
	}
}
