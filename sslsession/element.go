package sslsession

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An element is one element of the SEQUENCE: untagged and always there, or explicitly tagged and optional.
type element struct {
	tag  int
	name string
	value
}

// untagged is the tag of an element without one.
const untagged = -1

// String names the element in errors.
func (e element) String() string {
	if e.tag == untagged {
		return e.name
	}
	return fmt.Sprintf("[%d] %s", e.tag, e.name)
}

func (e element) asn1Tag() asn1.Tag {
	return asn1.Tag(e.tag).ContextSpecific().Constructed()
}

// read reads the element from the front of r if it is there.
func (e element) read(r *cryptobyte.String) error {
	if e.tag == untagged {
		return e.readValue(r)
	}
	var content cryptobyte.String
	var present bool
	if !r.ReadOptionalASN1(&content, &present, e.asn1Tag()) {
		return errors.New("bad length")
	}
	if !present {
		return nil
	}
	if err := e.readValue(&content); err != nil {
		return err
	}
	if !content.Empty() {
		return fmt.Errorf("followed by %d bytes within its tag", len(content))
	}
	return nil
}

func (e element) readValue(r *cryptobyte.String) error {
	if r.Empty() {
		return errors.New("missing")
	}
	if !e.parse(r) {
		return fmt.Errorf("not %s in DER", e.kind())
	}
	return e.check()
}

// write writes the element if it is present.
func (e element) write(w *cryptobyte.Builder) {
	switch {
	case !e.present():
	case e.tag == untagged:
		e.marshal(w)
	default:
		w.AddASN1(e.asn1Tag(), e.marshal)
	}
}

// A value is a field of an [SSLSession] in the ASN.1 type that it has.
type value interface {
	// kind describes the type.
	kind() string
	// parse sets the field to what r begins with; false if that is of another type or out of range.
	parse(r *cryptobyte.String) bool
	// check tells whether the field's value is one that OpenSSL reads.
	check() error
	// present tells whether the field is to be written.
	present() bool
	marshal(w *cryptobyte.Builder)
}

// required makes an optional value one that is always written.
type required struct{ value }

func (required) present() bool { return true }

// octets is an OCTET STRING.
type octets struct {
	field *[]byte
	limit int
}

const noLimit = math.MaxInt

func (octets) kind() string { return "an OCTET STRING" }

func (v octets) parse(r *cryptobyte.String) bool {
	var content cryptobyte.String
	ok := r.ReadASN1(&content, asn1.OCTET_STRING)
	*v.field = bytes.Clone(content)
	return ok
}

func (v octets) check() error {
	if n := len(*v.field); n > v.limit {
		return fmt.Errorf("%d bytes, at most %d are allowed", n, v.limit)
	}
	return nil
}

func (v octets) present() bool { return *v.field != nil }

func (v octets) marshal(w *cryptobyte.Builder) { w.AddASN1OctetString(*v.field) }

// text is an OCTET STRING that OpenSSL keeps as a C string.
type text struct{ octets }

func (v text) check() error {
	if bytes.IndexByte(*v.field, 0) >= 0 {
		return errors.New("holds a zero byte, where OpenSSL would cut it")
	}
	return v.octets.check()
}

// octet is an OCTET STRING of one byte.
type octet struct{ field *uint8 }

func (octet) kind() string { return "an OCTET STRING of one byte" }

func (v octet) parse(r *cryptobyte.String) bool {
	var content cryptobyte.String
	return r.ReadASN1(&content, asn1.OCTET_STRING) && content.ReadUint8(v.field) && content.Empty()
}

func (octet) check() error { return nil }

func (v octet) present() bool { return *v.field != 0 }

func (v octet) marshal(w *cryptobyte.Builder) { w.AddASN1OctetString([]byte{*v.field}) }

// suite is the OCTET STRING of a cipher suite.
type suite struct{ field *uint16 }

func (suite) kind() string { return "an OCTET STRING of 2 bytes" }

func (v suite) parse(r *cryptobyte.String) bool {
	var content cryptobyte.String
	return r.ReadASN1(&content, asn1.OCTET_STRING) && content.ReadUint16(v.field) && content.Empty()
}

func (suite) check() error { return nil }

func (suite) present() bool { return true }

func (v suite) marshal(w *cryptobyte.Builder) {
	w.AddASN1(asn1.OCTET_STRING, func(w *cryptobyte.Builder) { w.AddUint16(*v.field) })
}

// integer is an INTEGER in the range of T.
type integer[T uint8 | int32 | uint32 | int64 | uint64] struct{ field *T }

func (v integer[T]) kind() string { return fmt.Sprintf("an INTEGER in the range of %T", *v.field) }

func (v integer[T]) parse(r *cryptobyte.String) bool { return r.ReadASN1Integer(v.field) }

func (integer[T]) check() error { return nil }

func (v integer[T]) present() bool { return *v.field != 0 }

func (v integer[T]) marshal(w *cryptobyte.Builder) {
	if n := *v.field; n < 0 {
		w.AddASN1Int64(int64(n))
	} else {
		w.AddASN1Uint64(uint64(n))
	}
}

// structureVersion is the INTEGER 1.
type structureVersion struct{}

func (structureVersion) kind() string { return "the INTEGER 1" }

func (structureVersion) parse(r *cryptobyte.String) bool {
	var v uint64
	return r.ReadASN1Integer(&v) && v == 1
}

func (structureVersion) check() error { return nil }

func (structureVersion) present() bool { return true }

func (structureVersion) marshal(w *cryptobyte.Builder) { w.AddASN1Uint64(1) }

// protocolVersion is the INTEGER of a version that OpenSSL can read.
type protocolVersion struct{ field *uint16 }

func (protocolVersion) kind() string { return "an INTEGER of 16 bits" }

func (v protocolVersion) parse(r *cryptobyte.String) bool { return r.ReadASN1Integer(v.field) }

func (v protocolVersion) check() error {
	const badDTLS = 0x0100 // DTLS of OpenSSL 0.9.8
	if n := *v.field; n>>8 != 0x03 && n>>8 != 0xfe && n != badDTLS {
		return fmt.Errorf("%#04x is neither SSL 3.0, TLS nor DTLS", n)
	}
	return nil
}

func (protocolVersion) present() bool { return true }

func (v protocolVersion) marshal(w *cryptobyte.Builder) { w.AddASN1Uint64(uint64(*v.field)) }

// sequence is a SEQUENCE that stays encoded.
type sequence struct{ field *[]byte }

func (sequence) kind() string { return "a SEQUENCE" }

func (v sequence) parse(r *cryptobyte.String) bool {
	var whole cryptobyte.String
	ok := r.ReadASN1Element(&whole, asn1.SEQUENCE)
	*v.field = bytes.Clone(whole)
	return ok
}

func (v sequence) check() error {
	if !v.present() {
		return nil
	}
	r := cryptobyte.String(*v.field)
	if !r.SkipASN1(asn1.SEQUENCE) || !r.Empty() {
		return errors.New("not one SEQUENCE in DER")
	}
	return nil
}

func (v sequence) present() bool { return *v.field != nil }

func (v sequence) marshal(w *cryptobyte.Builder) { w.AddBytes(*v.field) }
