// Package tlsstate reads and writes the encoded form of a [tls.SessionState], whose fields crypto/tls keeps to itself.
//
// The encoding is an internal matter of crypto/tls and may change with a Go release. [Convertible] tells whether the
// one linked into this program is the one known here; where it is not, a session must be treated as opaque.
package tlsstate

import (
	"crypto/tls"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// A State is a [tls.SessionState] with its fields in the open.
//
// The encoding, in the language of RFC 8446, section 3:
//
//	opaque Certificate<1..2^24-1>;
//	Certificate CertificateChain<0..2^24-1>;
//	opaque Extra<0..2^24-1>;
//
//	struct {
//	    uint16 version;
//	    enum { server(1), client(2) } type;
//	    uint16 cipher_suite;
//	    uint64 created_at;
//	    opaque secret<1..2^8-1>;
//	    Extra extra<0..2^24-1>;
//	    uint8 ext_master_secret = { 0, 1 };
//	    uint8 early_data = { 0, 1 };
//	    CertificateEntry certificate_list<0..2^24-1>;
//	    CertificateChain verified_chains<0..2^24-1>;
//	    select (early_data) { case 1: opaque alpn<0..2^8-1>; };
//	    select (version) {
//	        case up to TLS 1.2: uint16 curve_id;
//	        case TLS 1.3 and type client: struct { uint64 use_by; uint32 age_add; };
//	    };
//	} SessionState;
type State struct {
	Version     uint16
	Client      bool
	CipherSuite uint16
	// CreatedAt is when a server made the secret, or a client got the ticket, in seconds since the Unix epoch.
	CreatedAt uint64
	// Secret is the master secret of TLS 1.2 or the PSK of TLS 1.3.
	Secret               []byte
	Extra                [][]byte
	ExtendedMasterSecret bool
	EarlyData            bool
	// Certificates is the peer's chain in DER, leaf first.
	Certificates [][]byte
	// LeafExtensions are the extensions of the leaf's CertificateEntry, undecoded: an OCSP staple and SCTs.
	LeafExtensions []byte
	// VerifiedChains are the verified chains in DER, without the leaf that each of them begins with.
	VerifiedChains [][][]byte
	// ALPN is the negotiated protocol; it is encoded with EarlyData only.
	ALPN string
	// Curve is the group of the key exchange, up to TLS 1.2.
	Curve tls.CurveID
	// UseBy, in seconds since the Unix epoch, and AgeAdd are those of a client's TLS 1.3 ticket.
	UseBy  uint64
	AgeAdd uint32
}

// The values of SessionStateType.
const (
	typeServer = 1
	typeClient = 2
)

var (
	errEncoding = errors.New("tlsstate: not a session state in the encoding known here")
	errTooLong  = errors.New("tlsstate: a field of the session state is too long")
)

// Parse decodes what [tls.SessionState.Bytes] returns. The result shares memory with data. Whatever a State cannot
// hold is an error, so that nothing is lost: [State.Marshal] gives back data.
func Parse(data []byte) (State, error) {
	var s State
	r := cryptobyte.String(data)
	if !r.ReadUint16(&s.Version) ||
		!readChoice(&r, typeServer, typeClient, &s.Client) ||
		!r.ReadUint16(&s.CipherSuite) ||
		!r.ReadUint64(&s.CreatedAt) ||
		!r.ReadUint8LengthPrefixed((*cryptobyte.String)(&s.Secret)) || len(s.Secret) == 0 ||
		!readVectors24(&r, &s.Extra) ||
		!readChoice(&r, 0, 1, &s.ExtendedMasterSecret) ||
		!readChoice(&r, 0, 1, &s.EarlyData) ||
		!s.readCertificates(&r) ||
		!s.readVerifiedChains(&r) ||
		!s.readTail(&r) ||
		!r.Empty() {
		return State{}, errEncoding
	}
	return s, nil
}

func (s *State) readCertificates(r *cryptobyte.String) bool {
	var list cryptobyte.String
	if !r.ReadUint24LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var certificate, extensions cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&certificate) || !list.ReadUint16LengthPrefixed(&extensions) {
			return false
		}
		if len(s.Certificates) == 0 {
			s.LeafExtensions = extensions
		} else if !extensions.Empty() {
			return false
		}
		s.Certificates = append(s.Certificates, certificate)
	}
	return true
}

func (s *State) readVerifiedChains(r *cryptobyte.String) bool {
	var list cryptobyte.String
	if !r.ReadUint24LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var chain [][]byte
		if !readVectors24(&list, &chain) {
			return false
		}
		s.VerifiedChains = append(s.VerifiedChains, chain)
	}
	return true
}

// readTail reads the fields whose presence depends on earlier ones.
func (s *State) readTail(r *cryptobyte.String) bool {
	if s.EarlyData {
		var alpn cryptobyte.String
		if !r.ReadUint8LengthPrefixed(&alpn) {
			return false
		}
		s.ALPN = string(alpn)
	}
	switch {
	case s.Version < tls.VersionTLS13:
		return r.ReadUint16((*uint16)(&s.Curve))
	case s.Client:
		return r.ReadUint64(&s.UseBy) && r.ReadUint32(&s.AgeAdd)
	}
	return true
}

// Marshal encodes s for [tls.ParseSessionState]. It returns an error if a field is too long.
func (s *State) Marshal() ([]byte, error) {
	w := &writer{bytes: make([]byte, 0, s.lengthHint())}
	w.uint16(s.Version)
	w.choice(typeServer, typeClient, s.Client)
	w.uint16(s.CipherSuite)
	w.uint64(s.CreatedAt)
	w.vector(1, s.Secret)
	w.vectors24(s.Extra)
	w.choice(0, 1, s.ExtendedMasterSecret)
	w.choice(0, 1, s.EarlyData)
	s.writeCertificates(w)
	s.writeVerifiedChains(w)
	if s.EarlyData {
		w.vector(1, []byte(s.ALPN))
	}
	switch {
	case s.Version < tls.VersionTLS13:
		w.uint16(uint16(s.Curve))
	case s.Client:
		w.uint64(s.UseBy)
		w.uint32(s.AgeAdd)
	}
	if w.tooLong {
		return nil, errTooLong
	}
	return w.bytes, nil
}

func (s *State) writeCertificates(w *writer) {
	content := w.begin(3)
	extensions := s.LeafExtensions
	for _, certificate := range s.Certificates {
		w.vector(3, certificate)
		w.vector(2, extensions)
		extensions = nil
	}
	w.end(3, content)
}

func (s *State) writeVerifiedChains(w *writer) {
	content := w.begin(3)
	for _, chain := range s.VerifiedChains {
		w.vectors24(chain)
	}
	w.end(3, content)
}

// lengthHint returns about how long the encoding is, so that it is built in one piece of memory.
func (s *State) lengthHint() int {
	n := 64 + len(s.Secret) + len(s.LeafExtensions) + len(s.ALPN) + vectorsLength(s.Extra) + vectorsLength(s.Certificates)
	for _, chain := range s.VerifiedChains {
		n += 3 + vectorsLength(chain)
	}
	return n
}

// readVectors24 reads opaque<0..2^24-1> vectors within a vector of the same length.
func readVectors24(r *cryptobyte.String, out *[][]byte) bool {
	var list cryptobyte.String
	if !r.ReadUint24LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var v cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&v) {
			return false
		}
		*out = append(*out, v)
	}
	return true
}

func vectorsLength(vectors [][]byte) int {
	n := 0
	for _, v := range vectors {
		n += 5 + len(v)
	}
	return n
}

// readChoice reads a byte that must be one of two values, and reports in second which.
func readChoice(r *cryptobyte.String, first, other uint8, second *bool) bool {
	var v uint8
	if !r.ReadUint8(&v) {
		return false
	}
	*second = v == other
	return v == first || v == other
}
