package sslsession_test

import (
	"bytes"
	"encoding/asn1"
	"reflect"
	"slices"
	"testing"

	"github.com/reprise-tls/reprise/sslsession"
)

// generated is how many sessions are made up.
const generated = 5000

// TestSessionsComeBackFromLibssl: what we write, libssl reads, and writes the same bytes; what it writes, we read, and
// write the same bytes.
func TestSessionsComeBackFromLibssl(t *testing.T) {
	g := newGenerator(t)
	sessions := make([]*sslsession.SSLSession, generated)
	encoded := make([][]byte, generated)
	for i := range sessions {
		sessions[i] = g.session()
		encoded[i] = marshal(t, sessions[i])
	}
	for i, back := range convert(t, encoded) {
		if back.read != len(encoded[i]) || !bytes.Equal(back.written, encoded[i]) {
			t.Fatalf("session %d\n%x\ncame back from libssl, which read %d of %d bytes, as\n%x",
				i, encoded[i], back.read, len(encoded[i]), back.written)
		}
		x, rest, err := sslsession.Parse(back.written)
		if err != nil || len(rest) > 0 || !reflect.DeepEqual(x, sessions[i]) {
			t.Fatalf("session %d\n%x\nwas read from libssl as %v with %d bytes left (%v)", i, back.written, x, len(rest), err)
		}
	}
}

// TestMutatedSessionsAreReadAlike: what libssl reads and would write just so, is read here too; and what is read here, libssl
// reads as the same.
func TestMutatedSessionsAreReadAlike(t *testing.T) {
	const mutations = 20000
	g := newGenerator(t)
	inputs := make([][]byte, mutations)
	for i := range inputs {
		inputs[i] = g.mutate(marshal(t, g.session()))
	}
	both := 0
	for i, libssl := range convert(t, inputs) {
		if readAlike(t, g, inputs[i], libssl) {
			both++
		}
	}
	t.Logf("of %d inputs, %d were accepted by both", mutations, both)
	if both < mutations/50 || both > mutations*49/50 {
		t.Error("the mutations are too strong or too weak to tell anything")
	}
}

// readAlike compares what libssl made of an input to what we make of it, and reports whether both have accepted it.
func readAlike(t *testing.T, g generator, input []byte, libssl converted) bool {
	t.Helper()
	x, rest, err := sslsession.Parse(input)
	read := len(input) - len(rest)
	isCanonical := libssl.read > 0 && bytes.Equal(libssl.written, input[:libssl.read])
	switch {
	case err != nil && isCanonical:
		t.Fatalf("libssl reads and writes\n%x\nbut we: %v", input, err)
	case err != nil:
		return false
	case !g.isKnownToLibssl(x):
		return libssl.read > 0
	case libssl.read == 0:
		t.Fatalf("libssl refuses\n%x\nbut we read\n%x", input, marshal(t, x))
	case libssl.read != read:
		t.Fatalf("of\n%x\nlibssl read %d bytes, and we %d", input, libssl.read, read)
	}
	if x.Time == 0 { // libssl takes the time of reading
		now, _, err := sslsession.Parse(libssl.written)
		if err != nil {
			t.Fatal(err)
		}
		x.Time = now.Time
	}
	if x.Timeout == 0 {
		x.Timeout = 3
	}
	if ours := marshal(t, x); !bytes.Equal(libssl.written, ours) {
		t.Fatalf("of\n%x\nlibssl made\n%x\nand we\n%x", input, libssl.written, ours)
	}
	return true
}

// isKnownToLibssl reports whether libssl has no reason to refuse x, or to write it in another way, other than its own
// encoding. It takes a certificate apart, and puts it together again without bits that are not used.
func (g generator) isKnownToLibssl(x *sslsession.SSLSession) bool {
	isCertificate := func(c []byte) bool { return bytes.Equal(c, x.PeerCertificate) }
	return suites[x.CipherSuite] != "" && x.PeerPublicKey == nil &&
		(x.PeerCertificate == nil || slices.ContainsFunc(g.certificates, isCertificate))
}

// mutate changes an encoded session in one of many ways.
func (g generator) mutate(der []byte) []byte {
	switch g.IntN(6) {
	case 0:
		return g.mutateBytes(der)
	case 1:
		return append(der, g.any()...)
	default:
		elements := split(der)
		for range 1 + g.IntN(3) {
			elements = g.mutateElements(elements)
		}
		return join(elements)
	}
}

func (g generator) mutateBytes(der []byte) []byte {
	at := g.IntN(len(der))
	switch g.IntN(3) {
	case 0:
		der[at] ^= 1 << g.IntN(8)
	case 1:
		der = slices.Delete(der, at, at+1)
	case 2:
		der = slices.Insert(der, at, byte(g.Uint32()))
	}
	return der
}

func (g generator) mutateElements(elements []asn1.RawValue) []asn1.RawValue {
	if len(elements) == 0 {
		return elements
	}
	at := g.IntN(len(elements))
	switch g.IntN(6) {
	case 0:
		return slices.Delete(elements, at, at+1)
	case 1:
		return slices.Insert(elements, at, elements[at])
	case 2:
		other := g.IntN(len(elements))
		elements[at], elements[other] = elements[other], elements[at]
	case 3:
		elements[at].Tag = g.IntN(23)
	case 4:
		return slices.Insert(elements, g.IntN(len(elements)+1), g.element())
	case 5:
		elements[at].Bytes = g.content()
	}
	return elements
}

// element returns an element that may have no business in a session, or that OpenSSL accepts and never writes.
func (g generator) element() asn1.RawValue {
	if g.IntN(3) == 0 {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: g.any()} // key_arg
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: g.IntN(22), IsCompound: true, Bytes: g.content()}
}

// content returns a small value of some type.
func (g generator) content() []byte {
	return pick(
		g,
		[]byte{asn1.TagInteger, 1, 0},
		[]byte{asn1.TagInteger, 1, byte(g.Uint32())},
		[]byte{asn1.TagInteger, 2, 0, byte(g.Uint32())},
		[]byte{asn1.TagInteger, 2, 0xff, byte(g.Uint32())},
		[]byte{asn1.TagInteger, 5, 0, byte(g.Uint32()), 0, 0, 0},
		[]byte{asn1.TagOctetString, 0},
		[]byte{asn1.TagOctetString, 1, byte(g.Uint32())},
		[]byte{asn1.TagOctetString, 2, byte(g.Uint32()), 0},
		[]byte{},
		g.any(),
	)
}

// split returns the elements of a session.
func split(der []byte) (elements []asn1.RawValue) {
	var session asn1.RawValue
	if _, err := asn1.Unmarshal(der, &session); err != nil {
		panic(err) // it was made by Marshal
	}
	for rest := session.Bytes; len(rest) > 0; {
		var element asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &element); err != nil {
			panic(err)
		}
		element.FullBytes = nil
		elements = append(elements, element)
	}
	return elements
}

// join makes a session of elements.
func join(elements []asn1.RawValue) []byte {
	var body []byte
	for _, element := range elements {
		b, err := asn1.Marshal(element)
		if err != nil {
			panic(err)
		}
		body = append(body, b...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		panic(err)
	}
	return der
}

func marshal(t *testing.T, x *sslsession.SSLSession) []byte {
	t.Helper()
	der, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}
