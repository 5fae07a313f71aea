package reprise

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// The encoding of a session, in the language of RFC 8446, section 3. Times are in milliseconds.
//
//	opaque Certificate<1..2^24-1>;
//	opaque ApplicationData<0..2^16-1>;
//
//	struct {
//	    uint16 type;
//	    opaque data<0..2^16-1>;
//	} Extension;
//
//	struct {
//	    uint8 revision = 1;
//	    uint16 version;
//	    uint16 cipher_suite;
//	    uint16 group;
//	    uint8 flags;                 /* 1: extended master secret, 2: single use */
//	    opaque id<1..32>;
//	    opaque secret<0..48>;        /* empty only if engine_state holds it */
//	    uint64 created;              /* since the Unix epoch */
//	    uint64 timeout;              /* not 0 */
//	    opaque lineage_id[16];
//	    uint64 lineage_start;
//	    uint64 lineage_end;
//	    uint32 lineage_generation;
//	    uint32 ticket_age_add;
//	    uint32 max_early_data;
//	    opaque scope[32];
//	    opaque context<0..32>;
//	    opaque server_name<0..255>;  /* in lower case, without a trailing dot */
//	    opaque alpn<0..255>;
//	    Certificate certificates<0..2^24-1>;
//	    ApplicationData application_data<0..2^24-1>;
//	    opaque engine_state<0..2^24-1>;
//	    Extension extensions<0..2^16-1>;
//	} Session;
//
// The format grows by extensions, in ascending order of type. A reader that does not know a type below 0x8000 passes over it; one
// that does not know a type from 0x8000 on must treat the session as malformed. Anything else needs a new revision. One is known:
//
//	0x8001: uint64 captured;         /* count of the revocations before the lineage's full handshake, not 0 */
const sessionRevision = 1

// extensionCaptured must be known: who does not would resume what was revoked.
const extensionCaptured = 0x8001

// errMalformed is wrapped by every error of [ParseSession].
var errMalformed = errors.New("reprise: malformed session")

// MarshalBinary encodes the session, its secret included: whoever has the result can resume the session. The
// encoding begins with a revision and is read by [ParseSession] of this and of later versions.
func (s *Session) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// AppendBinary appends what [Session.MarshalBinary] returns to b. The error is always nil: no session has parts that are
// too long.
func (s *Session) AppendBinary(b []byte) ([]byte, error) { return s.appendEncoded(b), nil }

func (s *Session) appendEncoded(b []byte) []byte {
	be, p := binary.BigEndian, s.profile
	b = append(b, sessionRevision)
	b = be.AppendUint16(b, s.version)
	b = be.AppendUint16(b, s.cipherSuite)
	b = be.AppendUint16(b, s.group)
	b = append(b, byte(s.flags))
	b = appendVector(b, 1, s.id.bytes[:s.id.length])
	b = appendVector(b, 1, s.secret[:s.secretLength])
	b = be.AppendUint64(b, uint64(s.created))
	b = be.AppendUint64(b, uint64(s.timeout))
	b = append(b, s.lineage.id[:]...)
	b = be.AppendUint64(b, uint64(s.lineage.start))
	b = be.AppendUint64(b, uint64(s.lineage.end))
	b = be.AppendUint32(b, s.lineage.generation)
	b = be.AppendUint32(b, s.ticketAgeAdd)
	b = be.AppendUint32(b, s.maxEarlyData)
	b = append(b, p.scope[:]...)
	b = appendVector(b, 1, p.context)
	b = appendVector(b, 1, p.serverName)
	b = appendVector(b, 1, p.alpn)
	b = appendVector(b, 3, p.chain.Value())
	b = appendVector(b, 3, p.appData)
	b = appendVector(b, 3, p.opaque)
	if p.captured == 0 {
		return be.AppendUint16(b, 0) // no extensions
	}
	b = be.AppendUint16(b, capturedLength)
	b = be.AppendUint16(b, extensionCaptured)
	b = be.AppendUint16(b, 8)
	return be.AppendUint64(b, uint64(p.captured))
}

// capturedLength is the length of the extension.
const capturedLength = 2 + 2 + 8

// encodedLength returns how many bytes appendEncoded appends.
func (s *Session) encodedLength() int {
	const fixed = 1 + 3*2 + 1 + 2*1 + 2*8 + len(s.lineage.id) + 2*8 + 3*4 + len(Scope{}) + 3*1 + 3*3 + 2
	p := s.profile
	extensions := 0
	if p.captured != 0 {
		extensions = capturedLength
	}
	return fixed + extensions + s.id.length + int(s.secretLength) + len(p.context) + len(p.serverName) + len(p.alpn) +
		len(p.chain.Value()) + len(p.appData) + len(p.opaque)
}

// ParseSession decodes what [Session.MarshalBinary] made. Any other input is an error: it neither panics nor
// allocates more than the input is long.
func ParseSession(b []byte) (*Session, error) {
	r := reader{String: b}
	if revision := r.uint8(); revision != sessionRevision || len(b) > MaxRecordLength {
		return nil, fmt.Errorf("%w: revision %d of %d bytes", errMalformed, revision, len(b))
	}
	s := &Session{profile: new(profile)}
	s.version = r.uint16()
	s.cipherSuite = r.uint16()
	s.group = r.uint16()
	s.flags = sessionFlags(r.uint8())
	s.id.length = r.copy8(s.id.bytes[:])
	s.secretLength = uint8(r.copy8(s.secret[:]))
	s.created = r.milliseconds()
	s.timeout = r.milliseconds()
	r.copy(s.lineage.id[:])
	s.lineage.start = r.milliseconds()
	s.lineage.end = r.milliseconds()
	s.lineage.generation = r.uint32()
	s.ticketAgeAdd = r.uint32()
	s.maxEarlyData = r.uint32()
	r.copy(s.profile.scope[:])
	s.profile.context = string(r.bytes8())
	s.profile.serverName = string(r.bytes8())
	s.profile.alpn = string(r.bytes8())
	chain := r.bytes24()
	appData := r.bytes24()
	s.profile.opaque = string(r.bytes24())
	extensions := r.bytes16()
	if r.failed || !r.Empty() {
		return nil, fmt.Errorf("%w: truncated, or followed by %d bytes", errMalformed, len(r.String))
	}
	if err := s.checkParsed(chain, appData, extensions); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	s.profile.chain = chainHandle(chain)
	s.profile.appData = string(appData)
	return s, nil
}

// checkParsed holds a decoded session to what [NewSession] grants of every other.
func (s *Session) checkParsed(chain, appData, extensions []byte) error {
	switch {
	case s.id.IsZero():
		return errors.New("no ID")
	case s.secretLength == 0 && s.profile.opaque == "":
		return errors.New("no secret")
	case s.version != tls.VersionTLS12 && s.version != tls.VersionTLS13:
		return fmt.Errorf("protocol version %#04x", s.version)
	case s.flags&^knownSessionFlags != 0:
		return fmt.Errorf("flags %#02x", s.flags)
	case s.maxEarlyData > 0 && s.flags&flagSingleUse == 0:
		return errors.New("early data without single use")
	case s.lineage.id == [16]byte{}:
		return errors.New("no lineage")
	case s.timeout == 0 || s.timeout > milliseconds(math.MaxInt64/time.Millisecond):
		return errors.New("timeout of nothing, or of more than 292 years")
	case s.lineage.end < s.lineage.start || s.lineage.end-s.lineage.start > milliseconds(MaxLineage.Milliseconds()):
		return errors.New("lineage that ends before it starts, or after more than 7 days")
	case s.profile.serverName != canonicalServerName(s.profile.serverName):
		return errors.New("server name that is not canonical")
	case len(s.profile.context) > MaxContextLength:
		return fmt.Errorf("context of %d bytes", len(s.profile.context))
	case len(chain)+len(appData)+len(s.profile.opaque) > maxVariable:
		return errors.New("too long")
	case !validVectors24(chain):
		return errors.New("client chain")
	case !validVectors16(appData):
		return errors.New("application data")
	}
	return parseExtensions(extensions, s.parseExtension)
}

// parseExtension reads an extension of a session, if it is known.
func (s *Session) parseExtension(kind uint16, data []byte) (known bool, err error) {
	if kind != extensionCaptured {
		return false, nil
	}
	r := reader{String: data}
	s.profile.captured = revocationCount(r.uint64())
	if r.failed || !r.Empty() || s.profile.captured == 0 {
		return true, errors.New("count of revocations")
	}
	return true, nil
}

// parseExtensions calls f for each extension. f reports whether it knows it.
func parseExtensions(extensions []byte, f func(kind uint16, data []byte) (known bool, err error)) error {
	r := reader{String: extensions}
	previous := -1
	for !r.Empty() {
		kind := r.uint16()
		data := r.bytes16()
		if r.failed || int(kind) <= previous {
			return errors.New("extensions")
		}
		known, err := f(kind, data)
		if err != nil {
			return err
		}
		if !known && kind >= 0x8000 {
			return fmt.Errorf("unknown extension %#04x, made by a newer version", kind)
		}
		previous = int(kind)
	}
	return nil
}

// A reader reads like a [cryptobyte.String] and remembers whether anything was missing.
type reader struct {
	cryptobyte.String
	failed bool
}

func (r *reader) check(ok bool) {
	if !ok {
		r.failed = true
		r.String = nil
	}
}

func (r *reader) uint8() (v uint8)   { r.check(r.ReadUint8(&v)); return v }
func (r *reader) uint16() (v uint16) { r.check(r.ReadUint16(&v)); return v }
func (r *reader) uint32() (v uint32) { r.check(r.ReadUint32(&v)); return v }
func (r *reader) uint64() (v uint64) { r.check(r.ReadUint64(&v)); return v }

// milliseconds reads a time or a duration; one past the year 280,000 is malformed, so that sums do not overflow.
func (r *reader) milliseconds() milliseconds {
	var v uint64
	r.check(r.ReadUint64(&v))
	r.check(v <= maxMilliseconds)
	return milliseconds(v)
}

const maxMilliseconds = 1 << 53

func (r *reader) copy(dst []byte) { r.check(r.CopyBytes(dst)) }

// copy8 copies an opaque<0..len(dst)> and returns its length.
func (r *reader) copy8(dst []byte) int {
	v := r.bytes8()
	r.check(len(v) <= len(dst))
	return copy(dst, v)
}

func (r *reader) bytes8() []byte {
	var v cryptobyte.String
	r.check(r.ReadUint8LengthPrefixed(&v))
	return v
}

func (r *reader) bytes16() []byte {
	var v cryptobyte.String
	r.check(r.ReadUint16LengthPrefixed(&v))
	return v
}

func (r *reader) bytes24() []byte {
	var v cryptobyte.String
	r.check(r.ReadUint24LengthPrefixed(&v))
	return v
}

// encodeVectors24 encodes elements as opaque<1..2^24-1> each, one behind the other.
func encodeVectors24(elements [][]byte) ([]byte, error) {
	return encodeVectors(elements, 3, 1)
}

// encodeVectors16 encodes elements as opaque<0..2^16-1> each, one behind the other.
func encodeVectors16(elements [][]byte) ([]byte, error) {
	return encodeVectors(elements, 2, 0)
}

// encodeVectors encodes elements of a length of at least minimum, each behind its length in so many bytes.
func encodeVectors(elements [][]byte, prefix, minimum int) ([]byte, error) {
	n := 0
	for _, element := range elements {
		if len(element) < minimum || len(element)>>(8*prefix) > 0 {
			return nil, fmt.Errorf("element of %d bytes", len(element))
		}
		n += prefix + len(element)
	}
	encoded := make([]byte, 0, n)
	for _, element := range elements {
		encoded = appendVector(encoded, prefix, element)
	}
	return encoded, nil
}

// isEncodingOf tells whether encodeVectors would make encoded of the elements. It does not allocate.
func isEncodingOf(encoded string, prefix int, elements [][]byte) bool {
	for _, element := range elements {
		end := prefix + len(element)
		if len(encoded) < end || encoded[prefix:end] != string(element) || lengthOf(encoded[:prefix]) != len(element) {
			return false
		}
		encoded = encoded[end:]
	}
	return encoded == ""
}

// lengthOf reads the length before a vector.
func lengthOf(prefix string) (n int) {
	for i := range len(prefix) {
		n = n<<8 | int(prefix[i])
	}
	return n
}

// appendVector appends v behind its length in so many bytes, which must suffice.
func appendVector[T []byte | string](b []byte, prefix int, v T) []byte {
	for i := prefix - 1; i >= 0; i-- {
		b = append(b, byte(len(v)>>(8*i)))
	}
	return append(b, v...)
}

func validVectors24(b []byte) bool {
	r := reader{String: b}
	for !r.Empty() {
		r.check(len(r.bytes24()) > 0)
	}
	return !r.failed
}

func validVectors16(b []byte) bool {
	r := reader{String: b}
	for !r.Empty() {
		r.bytes16()
	}
	return !r.failed
}

// decodeVectors24 is the reverse of encodeVectors24, of an encoding known to be valid.
func decodeVectors24(encoded string) [][]byte {
	if encoded == "" {
		return nil
	}
	elements := make([][]byte, 0, 4) // nearly always enough
	for r := (reader{String: []byte(encoded)}); !r.Empty(); {
		elements = append(elements, r.bytes24())
	}
	return elements
}

// decodeVectors16 is the reverse of encodeVectors16, of an encoding known to be valid.
func decodeVectors16(encoded string) [][]byte {
	var elements [][]byte
	for r := (reader{String: []byte(encoded)}); !r.Empty(); {
		elements = append(elements, r.bytes16())
	}
	return elements
}
