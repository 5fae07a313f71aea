package sslsession_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/sslsession"
)

var (
	leaf         = []byte{0x30, 0x03, 0x02, 0x01, 0x05}
	intermediate = []byte{0x30, 0x03, 0x02, 0x01, 0x06}
)

// fullParams are parts of which none is zero, of a TLS 1.2 session.
func fullParams(t testing.TB) reprise.SessionParams {
	t.Helper()
	id, err := reprise.MakeSessionID([]byte("an ID of thirty-two bytes, as is"))
	if err != nil {
		t.Fatal(err)
	}
	created := time.UnixMilli(1_793_000_000_987)
	return reprise.SessionParams{
		ID:                   id,
		Version:              tls.VersionTLS12,
		CipherSuite:          tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		Group:                tls.X25519,
		Secret:               []byte("the 48 bytes of a secret that must not be shown."),
		ExtendedMasterSecret: true,
		SingleUse:            true,
		Created:              created,
		Timeout:              90*time.Minute + 654*time.Millisecond,
		Lineage: reprise.Lineage{
			ID:         [16]byte{1, 2, 3},
			Start:      created.Add(-time.Hour),
			End:        created.Add(24*time.Hour + 321*time.Millisecond),
			Generation: 7,
		},
		Context:          []byte("context"),
		Scope:            reprise.Scope{4, 5, 6},
		ServerName:       "www.example",
		ALPN:             "h2",
		PeerCertificates: [][]byte{leaf, intermediate},
		TicketAgeAdd:     0xdeadbeef,
		MaxEarlyData:     16384,
		ApplicationData:  [][]byte{[]byte("application"), {}},
	}
}

// tls13Params are those of a TLS 1.3 session without anything special.
func tls13Params(t testing.TB) reprise.SessionParams {
	p := fullParams(t)
	return reprise.SessionParams{
		ID:           p.ID,
		Version:      tls.VersionTLS13,
		CipherSuite:  tls.TLS_AES_128_GCM_SHA256,
		Secret:       p.Secret[:32],
		Created:      p.Created,
		Timeout:      2 * time.Hour,
		Lineage:      p.Lineage,
		Scope:        p.Scope,
		TicketAgeAdd: p.TicketAgeAdd,
	}
}

func newSession(t testing.TB, p reprise.SessionParams) *reprise.Session {
	t.Helper()
	s, err := reprise.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// encode shows all of a session, to compare it by.
func encode(t testing.TB, s *reprise.Session) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reprise.ParseSession(b); err != nil {
		t.Fatalf("a session was made that can't be stored: %v", err)
	}
	return b
}

func fromSession(t testing.TB, s *reprise.Session) *sslsession.SSLSession {
	t.Helper()
	x, err := sslsession.FromSession(s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func toSession(t testing.TB, x *sslsession.SSLSession, f sslsession.Foreign) *reprise.Session {
	t.Helper()
	s, err := sslsession.ToSession(x, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionsComeBackAsTheyWere(t *testing.T) {
	for name, change := range map[string]func(*reprise.SessionParams){
		"everything":                   func(*reprise.SessionParams) {},
		"TLS 1.3":                      func(p *reprise.SessionParams) { *p = tls13Params(t) },
		"TLS 1.3 with SHA-384":         func(p *reprise.SessionParams) { p.Version, p.CipherSuite = 0x0304, 0x1302 },
		"without extended secret":      func(p *reprise.SessionParams) { p.ExtendedMasterSecret = false },
		"for many uses":                func(p *reprise.SessionParams) { p.SingleUse, p.MaxEarlyData = false, 0 },
		"default timeout":              func(p *reprise.SessionParams) { p.Timeout = 0 },
		"a millisecond below a second": func(p *reprise.SessionParams) { p.Created = p.Created.Add(12 * time.Millisecond) },
		"lineage ends before timeout":  func(p *reprise.SessionParams) { p.Lineage.End = p.Created.Add(time.Minute) },
		"its own lineage":              func(p *reprise.SessionParams) { p.Lineage = reprise.Lineage{} },
		"longer than its lineage may":  func(p *reprise.SessionParams) { p.Timeout = 30 * 24 * time.Hour },
		"as long as can be":            func(p *reprise.SessionParams) { p.Timeout = 1<<63 - 1 - time.Millisecond },
		"client certificate alone":     func(p *reprise.SessionParams) { p.PeerCertificates = p.PeerCertificates[:1] },
		"no client certificate":        func(p *reprise.SessionParams) { p.PeerCertificates = nil },
		"no names, context, data":      func(p *reprise.SessionParams) { p.ServerName, p.ALPN, p.Context, p.ApplicationData = "", "", nil, nil },
		"ID of one byte":               func(p *reprise.SessionParams) { p.ID, _ = reprise.MakeSessionID([]byte{0}) },
		"a long chain and much of data": func(p *reprise.SessionParams) {
			p.PeerCertificates, p.ApplicationData = longChain(), [][]byte{make([]byte, 20000)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := fullParams(t)
			change(&p)
			if p.Version == tls.VersionTLS13 {
				p.ExtendedMasterSecret = false // there is no such thing
			}
			s := newSession(t, p)
			x := mustParse(t, mustMarshal(t, fromSession(t, s)))
			if got, want := encode(t, toSession(t, x, sslsession.Foreign{})), encode(t, s); !bytes.Equal(got, want) {
				t.Errorf("came back as\n%x\nwant\n%x", got, want)
			}
		})
	}
}

func longChain() [][]byte {
	chain := [][]byte{leaf}
	for range 10 {
		chain = append(chain, append([]byte{0x30, 0x82, 0x0f, 0xa0}, make([]byte, 4000)...))
	}
	return chain
}

func TestFieldsOfOpenSSL(t *testing.T) {
	p := fullParams(t)
	got := fromSession(t, newSession(t, p))
	if !bytes.HasPrefix(got.TicketAppData, []byte("reprise\x01")) {
		t.Errorf("application data %q has not our prefix", got.TicketAppData)
	}
	got.TicketAppData = nil
	want := &sslsession.SSLSession{
		Version:          0x0303,
		CipherSuite:      0xc02f,
		SessionID:        p.ID.Bytes(),
		Secret:           p.Secret,
		Time:             1_793_000_000,
		Timeout:          5401, // 0.987 s, where it begins, and 0.654 s are more than a second
		PeerCertificate:  leaf,
		SessionIDContext: []byte("context"),
		VerifyResult:     1,
		ServerName:       []byte("www.example"),
		Flags:            sslsession.FlagExtendedMasterSecret,
		TicketAgeAdd:     0xdeadbeef,
		MaxEarlyData:     16384,
		ALPN:             []byte("h2"),
		KeyExchangeGroup: 29,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("converted to\n%#v\nwant\n%#v", fields(got), fields(want))
	}
}

// TestOpenSSLHearsOfTheLineage: it knows the timeout alone, so that is what ends the session in time.
func TestOpenSSLHearsOfTheLineage(t *testing.T) {
	p := tls13Params(t)
	p.Lineage.End = p.Created.Add(10*time.Second + 100*time.Millisecond)
	x := fromSession(t, newSession(t, p))
	if last := time.Unix(x.Time+x.Timeout, 0); last.After(p.Lineage.End) || p.Lineage.End.Sub(last) >= time.Second {
		t.Errorf("OpenSSL resumes until %v, the lineage ends at %v", last, p.Lineage.End)
	}
}

// TestExtendedMasterSecretIsOfTLS12: OpenSSL fails a TLS 1.3 handshake that resumes a session with the flag.
func TestExtendedMasterSecretIsOfTLS12(t *testing.T) {
	p := tls13Params(t)
	p.ExtendedMasterSecret = true
	x := fromSession(t, newSession(t, p))
	if x.Flags != 0 {
		t.Errorf("flags %d", x.Flags)
	}
	x.Flags = sslsession.FlagExtendedMasterSecret
	if toSession(t, x, sslsession.Foreign{}).ExtendedMasterSecret() {
		t.Error("a TLS 1.3 session has an extended master secret")
	}
}

func TestFromSessionRefuses(t *testing.T) {
	if x, err := sslsession.FromSession(new(reprise.Session)); err == nil {
		t.Errorf("a zero Session converted to %v", x)
	}
	for name, change := range map[string]func(*reprise.SessionParams){
		"opaque":             func(p *reprise.SessionParams) { p.Opaque = []byte("state") },
		"opaque, no secret":  func(p *reprise.SessionParams) { p.Opaque, p.Secret = []byte("state"), nil },
		"less than a second": func(p *reprise.SessionParams) { p.Timeout = 12 * time.Millisecond },
		"no second to live":  func(p *reprise.SessionParams) { p.Lineage.End = p.Created },
		"of 1970":            func(p *reprise.SessionParams) { p.Created, p.Lineage = time.UnixMilli(999), reprise.Lineage{} },
	} {
		p := fullParams(t)
		change(&p)
		x, err := sslsession.FromSession(newSession(t, p))
		if err == nil || x != nil {
			t.Errorf("%s: converted to %v", name, x)
		}
		if p.Opaque != nil && !errors.Is(err, sslsession.ErrOpaque) {
			t.Errorf("%s: error %v, want ErrOpaque", name, err)
		}
	}
}

// foreignSession is a TLS 1.2 session as OpenSSL would make it.
func foreignSession() *sslsession.SSLSession {
	x := fullSession()
	x.PSKIdentityHint, x.PSKIdentity, x.SRPUsername, x.Ticket, x.PeerPublicKey = nil, nil, nil, nil, nil
	x.Compression, x.MaxEarlyData = 0, 0
	return x
}

var foreign = sslsession.Foreign{
	Scope:   reprise.Scope{9},
	Context: []byte("context"),
	Now:     time.UnixMilli(1_793_000_100_500),
}

func TestForeignSession(t *testing.T) {
	x := foreignSession()
	s := toSession(t, x, foreign)
	created := time.Unix(1_793_000_000, 0)
	id, _ := reprise.MakeSessionID(x.SessionID)
	want := newSession(t, reprise.SessionParams{
		ID:                   id,
		Version:              tls.VersionTLS12,
		CipherSuite:          0xc02f,
		Group:                tls.X25519,
		Secret:               x.Secret,
		ExtendedMasterSecret: true,
		Created:              created,
		Timeout:              2 * time.Hour,
		Lineage:              reprise.Lineage{ID: s.Lineage().ID, Start: created},
		Context:              []byte("context"),
		Scope:                foreign.Scope,
		ServerName:           "www.example",
		ALPN:                 "h2",
		PeerCertificates:     [][]byte{leaf},
		TicketAgeAdd:         0xdeadbeef,
		ApplicationData:      [][]byte{[]byte("application")},
	})
	if got, want := encode(t, s), encode(t, want); !bytes.Equal(got, want) {
		t.Errorf("converted to\n%x\nwant\n%x", got, want)
	}
	if again := toSession(t, x, foreign); again.Lineage() != s.Lineage() {
		t.Error("converted again, it has another lineage")
	}
	x.SessionID = []byte("another")
	if another := toSession(t, x, foreign); another.Lineage().ID == s.Lineage().ID {
		t.Error("another session has the same lineage")
	}
}

func TestForeignSessionWithoutTimes(t *testing.T) {
	x := foreignSession()
	x.Time, x.Timeout = 0, 0
	s := toSession(t, x, foreign)
	if !s.Created().Equal(foreign.Now) || s.Timeout() != 3*time.Second {
		t.Errorf("created %v, timeout %v; want %v and OpenSSL's 3 seconds", s.Created(), s.Timeout(), foreign.Now)
	}
	if _, err := sslsession.ToSession(x, sslsession.Foreign{Scope: foreign.Scope, Context: foreign.Context}); err == nil {
		t.Error("a session without time was made from nothing")
	}
}

func TestForeignSessionLivesNoLongerThanALineage(t *testing.T) {
	x := foreignSession()
	for _, timeout := range []int64{8 * 24 * 3600, 1<<63 - 1} {
		x.Timeout = timeout
		s := toSession(t, x, foreign)
		if got, want := s.Expiry(), s.Created().Add(reprise.MaxLineage); !got.Equal(want) {
			t.Errorf("with a timeout of %d s it ends at %v, want %v", timeout, got, want)
		}
	}
}

func TestForeignSessionNeedsAScopeAndItsContext(t *testing.T) {
	x := foreignSession()
	if _, err := sslsession.ToSession(x, sslsession.Foreign{Context: foreign.Context}); !errors.Is(err, sslsession.ErrForeign) {
		t.Errorf("without scope: %v, want ErrForeign", err)
	}
	for _, context := range []string{"", "contex", "context2"} {
		x.SessionIDContext = []byte(context)
		if _, err := sslsession.ToSession(x, foreign); !errors.Is(err, sslsession.ErrContext) {
			t.Errorf("context %q: %v, want ErrContext", context, err)
		}
	}
	x.SessionIDContext = nil
	toSession(t, x, sslsession.Foreign{Scope: foreign.Scope, Context: []byte{}})
}

// TestOwnSessionWithoutScope: a session that names none is like one of other software.
func TestOwnSessionWithoutScope(t *testing.T) {
	p := fullParams(t)
	p.Scope = reprise.Scope{}
	x := fromSession(t, newSession(t, p))
	if _, err := sslsession.ToSession(x, sslsession.Foreign{}); !errors.Is(err, sslsession.ErrForeign) {
		t.Errorf("error %v, want ErrForeign", err)
	}
	s := toSession(t, x, foreign)
	if s.Scope() != foreign.Scope || s.Lineage().ID != p.Lineage.ID {
		t.Errorf("scope %v, lineage %v", s.Scope(), s.Lineage())
	}
}

func TestServerNameIsMadeCanonical(t *testing.T) {
	for name, want := range map[string]string{
		"WWW.Example.":   "www.example",
		"xn--bcher-kva.": "xn--bcher-kva",
	} {
		x := foreignSession()
		x.ServerName = []byte(name)
		if got := toSession(t, x, foreign).ServerName(); got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

func TestGroupWithoutCodeIsNotKnown(t *testing.T) {
	x := foreignSession()
	x.KeyExchangeGroup = 0x01000000 + 415 // as OpenSSL 3 numbers a curve by its NID
	if got := toSession(t, x, foreign).Group(); got != 0 {
		t.Errorf("group %v", got)
	}
}

func TestToSessionRefuses(t *testing.T) {
	for want, change := range map[string]func(*sslsession.SSLSession){
		"protocol version":     func(x *sslsession.SSLSession) { x.Version = 0x0302 },
		"version 0xfefd":       func(x *sslsession.SSLSession) { x.Version = 0xfefd },
		"no session ID":        func(x *sslsession.SSLSession) { x.SessionID = nil },
		"session ID: ":         func(x *sslsession.SSLSession) { x.SessionID = make([]byte, 33) },
		"secret of 47 bytes":   func(x *sslsession.SSLSession) { x.Secret = x.Secret[:47] },
		"secret of 0 bytes":    func(x *sslsession.SSLSession) { x.Secret = nil },
		"must be 32":           func(x *sslsession.SSLSession) { x.Version, x.CipherSuite = 0x0304, 0x1301 },
		"[1] time":             func(x *sslsession.SSLSession) { x.Time = -1 },
		"[1] time: before":     func(x *sslsession.SSLSession) { x.Time = 1 << 62 },
		"[2] timeout":          func(x *sslsession.SSLSession) { x.Timeout = -1 },
		"server name":          func(x *sslsession.SSLSession) { x.ServerName = bytes.Repeat([]byte("a"), 256) },
		"[7]":                  func(x *sslsession.SSLSession) { x.PSKIdentityHint = []byte{} },
		"[8]":                  func(x *sslsession.SSLSession) { x.PSKIdentity = []byte("user") },
		"[10] ticket":          func(x *sslsession.SSLSession) { x.Ticket = []byte("ticket") },
		"[11] compression":     func(x *sslsession.SSLSession) { x.Compression = 1 },
		"[12]":                 func(x *sslsession.SSLSession) { x.SRPUsername = []byte("user") },
		"ALPN":                 func(x *sslsession.SSLSession) { x.ALPN = make([]byte, 256) },
		"[17]":                 func(x *sslsession.SSLSession) { x.MaxFragmentLength = 4 },
		"[20]":                 func(x *sslsession.SSLSession) { x.PeerPublicKey = []byte("key") },
		"application data of ": func(x *sslsession.SSLSession) { x.TicketAppData = make([]byte, 1<<16) },
		"data: revision 2":     func(x *sslsession.SSLSession) { x.TicketAppData = []byte("reprise\x02") },
		"data: revision 0":     func(x *sslsession.SSLSession) { x.TicketAppData = []byte("reprise") },
		"[18] ticket":          func(x *sslsession.SSLSession) { x.TicketAppData = []byte("reprise\x01") },
	} {
		x := foreignSession()
		change(x)
		s, err := sslsession.ToSession(x, foreign)
		if err == nil || s != nil {
			t.Errorf("%s: converted to %v", want, s)
		} else if !strings.HasPrefix(err.Error(), "sslsession: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not tell of %q", err, want)
		}
	}
}

// TestVectorsConvert: the real sessions of OpenSSL, of both sides.
func TestVectorsConvert(t *testing.T) {
	for name, v := range vectors(t) {
		x := mustParse(t, v.der)
		s, err := sslsession.ToSession(x, sslsession.Foreign{Scope: foreign.Scope, Context: x.SessionIDContext})
		isTicket := strings.Contains(name, "ticket") || strings.HasPrefix(name, "tls13") && strings.Contains(name, "client")
		if isTicket != (err != nil) {
			t.Errorf("%s: converted to %v, error %v", name, s, err)
		}
		if err != nil {
			continue
		}
		encode(t, s)
		if s.SingleUse() != (x.MaxEarlyData > 0) || s.HasPeerCertificates() != (x.PeerCertificate != nil) {
			t.Errorf("%s: single use %v, client certificate %v", name, s.SingleUse(), s.HasPeerCertificates())
		}
	}
}

// TestDescendantOfOpenSSL: a libssl server that resumes one of our TLS 1.3 sessions copies its application data into
// the new one.
func TestDescendantOfOpenSSL(t *testing.T) {
	p := tls13Params(t)
	p.SingleUse = true
	p.ApplicationData = [][]byte{[]byte("application")}
	x := fromSession(t, newSession(t, p))
	x.SessionID = bytes.Repeat([]byte{7}, 32)
	x.Secret = bytes.Repeat([]byte{8}, 32)
	x.TicketAgeAdd = 9

	if s := toSession(t, x, sslsession.Foreign{}); s.Lineage().Generation != p.Lineage.Generation+1 || !s.Created().Equal(time.Unix(x.Time, 0)) {
		t.Errorf("made in the same second, it is of generation %d and created %v", s.Lineage().Generation, s.Created())
	}
	x.Time += 3600
	s := toSession(t, x, sslsession.Foreign{})
	got, want := s.Lineage(), p.Lineage
	if got.ID != want.ID || !got.Start.Equal(want.Start) || !got.End.Equal(want.End) || got.Generation != want.Generation+1 {
		t.Errorf("lineage %+v, want that of %+v and the next generation", got, want)
	}
	if want := time.Unix(x.Time, 0); !s.Created().Equal(want) {
		t.Errorf("created %v, want %v", s.Created(), want)
	}
	if s.Timeout() != 2*time.Hour || s.Scope() != p.Scope || !s.SingleUse() || len(s.ApplicationData()) != 1 {
		t.Errorf("timeout %v, scope %v, single use %v, application data %q", s.Timeout(), s.Scope(), s.SingleUse(), s.ApplicationData())
	}

	x.Time = p.Lineage.End.Unix() - 60 // OpenSSL goes on for the whole timeout; the lineage does not
	if s := toSession(t, x, sslsession.Foreign{}); !s.Expiry().Equal(p.Lineage.End) {
		t.Errorf("ends at %v, its lineage at %v", s.Expiry(), p.Lineage.End)
	}
}

// TestTimesOfOpenSSLPrevail: applications change them (SSL_SESSION_set_timeout(3)), and mean it.
func TestTimesOfOpenSSLPrevail(t *testing.T) {
	p := tls13Params(t)
	x := fromSession(t, newSession(t, p))
	x.Timeout = 300
	s := toSession(t, x, sslsession.Foreign{})
	if s.Timeout() != 5*time.Minute || !s.Created().Equal(p.Created) {
		t.Errorf("timeout %v, created %v", s.Timeout(), s.Created())
	}
	x.Time++
	s = toSession(t, x, sslsession.Foreign{})
	if s.Timeout() != 5*time.Minute || !s.Created().Equal(time.Unix(x.Time, 0)) || s.Lineage().Generation != p.Lineage.Generation {
		t.Errorf("timeout %v, created %v, generation %d", s.Timeout(), s.Created(), s.Lineage().Generation)
	}
}

func TestMalformedApplicationDataIsRefused(t *testing.T) {
	x := fromSession(t, newSession(t, fullParams(t)))
	good := x.TicketAppData
	const (
		created    = 8 + 8
		flags      = created + 8 + 8
		lineageID  = flags + 1 + 32
		start      = lineageID + 16
		end        = start + 8
		extensions = 2
	)
	refused := func(name string, data []byte) {
		t.Helper()
		x.TicketAppData = data
		if s, err := sslsession.ToSession(x, foreign); err == nil || !strings.Contains(err.Error(), "[18]") {
			t.Errorf("%s: converted to %v, error %v", name, s, err)
		}
	}
	for n := len("reprise"); n < len(good); n++ {
		refused("cut", good[:n])
	}
	with := func(at int, b ...byte) []byte {
		return append(append(bytes.Clone(good[:at]), b...), good[at+len(b):]...)
	}
	refused("a trailing byte", append(bytes.Clone(good), 0))
	refused("a creation time that can't be", with(created, 0, 0x20, 0, 0, 0, 0, 0, 1))
	refused("an unknown flag", with(flags, 2))
	refused("no lineage", with(lineageID, make([]byte, 16)...))
	refused("a lineage that ends before it begins", with(end, make([]byte, 8)...))

	extended := func(b ...byte) []byte {
		return slices.Concat(good[:len(good)-extensions], []byte{0, byte(len(b))}, b)
	}
	refused("an extension that must be known", extended(0x80, 0, 0, 0))
	refused("extensions out of order", extended(0, 2, 0, 0, 0, 1, 0, 0))
	refused("an extension twice", extended(0, 1, 0, 0, 0, 1, 0, 0))
	refused("half an extension", extended(0, 1, 0))
	x.TicketAppData = extended(0, 1, 0, 1, 'x', 0x7f, 0xff, 0, 0)
	toSession(t, x, foreign)

	x.PeerCertificate = nil
	refused("a chain without its leaf", good)
}

// FuzzToSession: whatever is in an SSL_SESSION, it becomes an error or a session that can be stored and converted back.
func FuzzToSession(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.der)
	}
	full := fromSession(f, newSession(f, fullParams(f)))
	f.Add(mustMarshal(f, full))
	full.Time += 60
	f.Add(mustMarshal(f, full))
	f.Add(mustMarshal(f, fromSession(f, newSession(f, tls13Params(f)))))
	f.Add(mustMarshal(f, foreignSession()))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, _, err := sslsession.Parse(data)
		if err != nil {
			return
		}
		s, err := sslsession.ToSession(x, sslsession.Foreign{Scope: foreign.Scope, Context: x.SessionIDContext, Now: foreign.Now})
		if err != nil {
			return
		}
		encoded := encode(t, s)
		back, err := sslsession.FromSession(s)
		if err != nil {
			return // of 1970, or too short
		}
		again, err := sslsession.ToSession(mustParse(t, mustMarshal(t, back)), sslsession.Foreign{})
		if err != nil {
			t.Fatalf("converted, it does not convert back: %v", err)
		}
		if got := encode(t, again); !bytes.Equal(got, encoded) {
			t.Fatalf("came back as\n%x\nwant\n%x", got, encoded)
		}
	})
}
