// Package record is the record layer of TLS 1.2 (RFC 5246, section 6): it cuts a stream of bytes into records, and
// protects and opens them with an AEAD. It neither reads nor writes a connection: bytes go in and out.
package record

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/reprise-tls/reprise/internal/readbuffer"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/schedule"
)

// A Type is the content type of a record.
type Type uint8

// The content types of RFC 5246, section 6.2.1.
const (
	ChangeCipherSpec Type = 20
	Alert            Type = 21
	Handshake        Type = 22
	ApplicationData  Type = 23
)

// Sizes in bytes.
const (
	HeaderLength = 5
	// MaxPlaintext is the length of the longest content (RFC 5246, section 6.2.1).
	MaxPlaintext = 1 << 14
	// maxCiphertext is that of the longest protected fragment (RFC 5246, section 6.2.3).
	maxCiphertext = MaxPlaintext + 2048

	explicitNonceLength = 8
)

const version = 0x0303

// A protection is the AEAD of one direction, with its sequence number.
type protection struct {
	aead     cipher.AEAD
	iv       [12]byte
	explicit bool // the last 8 bytes of the nonce are in each record
	sequence uint64

	// Those of the record at hand: what a cipher.AEAD gets would lie on the heap anyway, for each record anew.
	nonce      [12]byte
	additional [13]byte
}

func newProtection(s *schedule.Suite, k schedule.Keys) protection {
	p := protection{aead: s.AEAD(k.Key), explicit: s.ExplicitNonce}
	copy(p.iv[:], k.FixedIV)
	return p
}

// isOn tells whether records are protected.
func (p *protection) isOn() bool { return p.aead != nil }

// overhead is how many bytes a protected fragment is longer than its content.
func (p *protection) overhead() int {
	if !p.isOn() {
		return 0
	}
	if p.explicit {
		return explicitNonceLength + p.aead.Overhead()
	}
	return p.aead.Overhead()
}

// setNonce makes the nonce of a record: RFC 5288, section 3, or RFC 7905, section 2.
func (p *protection) setNonce(explicit []byte) {
	p.nonce = p.iv
	if p.explicit {
		copy(p.nonce[4:], explicit)
		return
	}
	var sequence [8]byte
	binary.BigEndian.PutUint64(sequence[:], p.sequence)
	for i, b := range sequence {
		p.nonce[4+i] ^= b
	}
}

// setAdditional makes the additional data of a record (RFC 5246, section 6.2.3.3).
func (p *protection) setAdditional(t Type, length int) {
	binary.BigEndian.PutUint64(p.additional[:], p.sequence)
	p.additional[8] = byte(t)
	binary.BigEndian.PutUint16(p.additional[9:], version)
	binary.BigEndian.PutUint16(p.additional[11:], uint16(length))
}

// A Reader cuts what the peer sends into records. The zero value reads unprotected ones.
type Reader struct {
	memory  []byte // that buffer lies in
	buffer  []byte // not yet returned
	opening protection
}

// Begin begins with bytes that were read from the peer already. Their memory is the Reader's from now on, and that behind
// them too; it may come from package readbuffer.
func (r *Reader) Begin(read []byte) { r.memory, r.buffer = read[:0], read }

// Release gives the Reader's memory back, unless something in it is still to be read. What Next has returned is not valid any more.
func (r *Reader) Release() {
	if len(r.buffer) == 0 {
		readbuffer.Put(r.memory)
		r.memory, r.buffer = nil, nil
	}
}

// Protect makes all that follows protected with the keys. Bytes that were fed and not read yet are part of that.
func (r *Reader) Protect(s *schedule.Suite, k schedule.Keys) { r.opening = newProtection(s, k) }

// Protected reports whether Protect was called.
func (r *Reader) Protected() bool { return r.opening.isOn() }

// Feed adds bytes from the peer. It copies them.
func (r *Reader) Feed(b []byte) { r.buffer = append(r.buffer, b...) }

// Buffered returns how many bytes were fed and not yet read.
func (r *Reader) Buffered() int { return len(r.buffer) }

// Free returns room for at least n more bytes, to read from the peer into; [Reader.Commit] adds what was read. n is at most what
// [Reader.Missing] returns, or little.
//
// Long memory is kept only until all in it was read: between records, a connection may be idle.
func (r *Reader) Free(n int) []byte {
	n += len(r.buffer)
	memory := r.memory
	if cap(memory) < n || n <= readbuffer.Size && len(r.buffer) == 0 && cap(memory) > readbuffer.Size {
		memory = readbuffer.Get(n)
		defer readbuffer.Put(r.memory)
	}
	r.memory, r.buffer = memory, append(memory, r.buffer...)
	return r.buffer[len(r.buffer):cap(r.buffer)]
}

// Commit adds the first n bytes of what Free returned.
func (r *Reader) Commit(n int) { r.buffer = r.buffer[:len(r.buffer)+n] }

// errIncomplete is returned by Next while a record is not there as a whole.
var errIncomplete = errors.New("record: incomplete")

// IsIncomplete reports whether an error of Next means that more bytes must be fed.
func IsIncomplete(err error) bool { return err == errIncomplete } //nolint:errorlint // never wrapped

// Next returns the next record, opened. content is valid until bytes are fed or Free is called. An error that is not
// [IsIncomplete] is final and has the alert that it calls for.
func (r *Reader) Next() (t Type, content []byte, err error) {
	if len(r.buffer) < HeaderLength {
		return 0, nil, errIncomplete
	}
	t = Type(r.buffer[0])
	length := int(binary.BigEndian.Uint16(r.buffer[3:]))
	if err := r.checkHeader(t, length); err != nil {
		return 0, nil, err
	}
	if len(r.buffer) < HeaderLength+length {
		return 0, nil, errIncomplete
	}
	fragment := r.buffer[HeaderLength : HeaderLength+length]
	r.buffer = r.buffer[HeaderLength+length:]
	if !r.opening.isOn() {
		return t, fragment, nil
	}
	content, err = r.opening.open(t, fragment)
	return t, content, err
}

// Missing returns how many more bytes make the next record complete, 0 if it is.
func (r *Reader) Missing() int {
	if len(r.buffer) < HeaderLength {
		return HeaderLength - len(r.buffer)
	}
	length := int(binary.BigEndian.Uint16(r.buffer[3:]))
	return max(0, HeaderLength+length-len(r.buffer))
}

func (r *Reader) checkHeader(t Type, length int) error {
	switch {
	case t < ChangeCipherSpec || t > ApplicationData:
		return alert.UnexpectedMessage.Errorf("record of unknown type %d", t)
	case r.buffer[1] != version>>8:
		return alert.ProtocolVersion.Errorf("record of version %#04x", binary.BigEndian.Uint16(r.buffer[1:]))
	case r.opening.isOn() && r.buffer[2] != version&0xff:
		return alert.ProtocolVersion.Errorf("protected record of version %#04x", binary.BigEndian.Uint16(r.buffer[1:]))
	case !r.opening.isOn() && length > MaxPlaintext, length > maxCiphertext:
		return alert.RecordOverflow.Errorf("record of %d bytes", length)
	case !r.opening.isOn() && length == 0 && t != ApplicationData:
		// RFC 5246, section 6.2.1: "Implementations MUST NOT send zero-length fragments of Handshake, Alert, or
		// ChangeCipherSpec content types."
		return alert.UnexpectedMessage.Errorf("empty record of type %d", t)
	}
	return nil
}

func (p *protection) open(t Type, fragment []byte) ([]byte, error) {
	length := len(fragment) - p.overhead()
	if length < 0 {
		return nil, alert.BadRecordMAC.Errorf("protected record of %d bytes", len(fragment))
	}
	if length > MaxPlaintext {
		return nil, alert.RecordOverflow.Errorf("record with %d bytes of content", length)
	}
	var explicit []byte
	if p.explicit {
		explicit, fragment = fragment[:explicitNonceLength], fragment[explicitNonceLength:]
	}
	p.setNonce(explicit)
	p.setAdditional(t, length)
	content, err := p.aead.Open(fragment[:0], p.nonce[:], fragment, p.additional[:])
	if err != nil {
		return nil, alert.BadRecordMAC.Errorf("record does not open")
	}
	if length == 0 && t != ApplicationData {
		return nil, alert.UnexpectedMessage.Errorf("empty record of type %d", t)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return content, nil
}

// advance counts a record. Sequence numbers never wrap (RFC 5246, section 6.1).
func (p *protection) advance() error {
	p.sequence++
	if p.sequence == 0 {
		return errors.New("record: sequence number wraps")
	}
	return nil
}

// A Writer makes records. The zero value makes unprotected ones.
type Writer struct {
	sealing protection
}

// Protect makes all that follows protected with the keys.
func (w *Writer) Protect(s *schedule.Suite, k schedule.Keys) { w.sealing = newProtection(s, k) }

// Append appends content to out, as one or more records of the given type.
func (w *Writer) Append(out []byte, t Type, content []byte) ([]byte, error) {
	for first := true; first || len(content) > 0; first = false {
		n := min(len(content), MaxPlaintext)
		var err error
		if out, err = w.append(out, t, content[:n]); err != nil {
			return out, err
		}
		content = content[n:]
	}
	return out, nil
}

func (w *Writer) append(out []byte, t Type, content []byte) ([]byte, error) {
	out = append(out, byte(t), version>>8, version&0xff)
	out = binary.BigEndian.AppendUint16(out, uint16(len(content)+w.sealing.overhead()))
	p := &w.sealing
	if !p.isOn() {
		return append(out, content...), nil
	}
	var explicit [explicitNonceLength]byte
	if p.explicit {
		// The sequence number is a nonce that is never used twice (RFC 5288, section 3).
		binary.BigEndian.PutUint64(explicit[:], p.sequence)
		out = append(out, explicit[:]...)
	}
	p.setNonce(explicit[:])
	p.setAdditional(t, len(content))
	out = p.aead.Seal(out, p.nonce[:], content, p.additional[:])
	return out, p.advance()
}

// Overhead returns how many bytes a record is longer than its content.
func (w *Writer) Overhead() int { return HeaderLength + w.sealing.overhead() }
