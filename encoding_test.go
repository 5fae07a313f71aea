package reprise_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// fullParams are parts of which none is zero.
func fullParams(t testing.TB) reprise.SessionParams {
	t.Helper()
	id, err := reprise.MakeSessionID([]byte("an ID that must not be shown 123"))
	if err != nil {
		t.Fatal(err)
	}
	created := time.UnixMilli(1_793_000_000_123)
	return reprise.SessionParams{
		ID:                   id,
		Version:              tls.VersionTLS12,
		CipherSuite:          tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		Group:                tls.X25519,
		Secret:               []byte("the 48 bytes of a secret that must not be shown."),
		ExtendedMasterSecret: true,
		SingleUse:            true,
		Created:              created,
		Timeout:              90 * time.Minute,
		Lineage: reprise.Lineage{
			ID:         [16]byte{1, 2, 3},
			Start:      created.Add(-time.Hour),
			End:        created.Add(24 * time.Hour),
			Generation: 7,
		},
		Context:          []byte("context"),
		Scope:            reprise.Scope{4, 5, 6},
		ServerName:       "www.example",
		ALPN:             "h2",
		PeerCertificates: [][]byte{[]byte("leaf"), []byte("intermediate")},
		TicketAgeAdd:     0xdeadbeef,
		MaxEarlyData:     16384,
		ApplicationData:  [][]byte{[]byte("application"), {}},
		Opaque:           []byte("engine state that must not be shown"),
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

func marshal(t testing.TB, s *reprise.Session) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// paramsOf reads a session back by its methods.
func paramsOf(s *reprise.Session) reprise.SessionParams {
	return reprise.SessionParams{
		ID:                   s.ID(),
		Version:              s.Version(),
		CipherSuite:          s.CipherSuite(),
		Group:                s.Group(),
		Secret:               s.Secret(),
		ExtendedMasterSecret: s.ExtendedMasterSecret(),
		SingleUse:            s.SingleUse(),
		Created:              s.Created(),
		Timeout:              s.Timeout(),
		Lineage:              s.Lineage(),
		Context:              s.Context(),
		Scope:                s.Scope(),
		ServerName:           s.ServerName(),
		ALPN:                 s.ALPN(),
		PeerCertificates:     s.PeerCertificates(),
		TicketAgeAdd:         s.TicketAgeAdd(),
		MaxEarlyData:         s.MaxEarlyData(),
		ApplicationData:      s.ApplicationData(),
		Opaque:               s.Opaque(),
	}
}

func TestSessionKeepsEveryPart(t *testing.T) {
	want := fullParams(t)
	for i, v := 0, reflect.ValueOf(want); i < v.NumField(); i++ {
		if v.Type().Field(i).IsExported() && v.Field(i).IsZero() {
			t.Errorf("the test says nothing of %s", v.Type().Field(i).Name)
		}
	}
	made := newSession(t, want)
	parsed, err := reprise.ParseSession(marshal(t, made))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*reprise.Session{"made": made, "parsed": parsed} {
		if got := paramsOf(s); !reflect.DeepEqual(got, want) {
			t.Errorf("%s session:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestSessionOfFewPartsKeepsThem(t *testing.T) {
	p := fullParams(t)
	s := newSession(t, reprise.SessionParams{ID: p.ID, Version: p.Version, CipherSuite: p.CipherSuite, Secret: p.Secret, Created: p.Created})
	parsed, err := reprise.ParseSession(marshal(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paramsOf(parsed), paramsOf(s); !reflect.DeepEqual(got, want) {
		t.Errorf("parsed session:\n got %+v\nwant %+v", got, want)
	}
	if s.Opaque() != nil || s.PeerCertificates() != nil || s.ApplicationData() != nil {
		t.Error("parts that were not given are not nil")
	}
	if s.Timeout() != reprise.DefaultTimeout || s.Lineage().Start != s.Created() {
		t.Errorf("session with timeout %v and lineage from %v", s.Timeout(), s.Lineage().Start)
	}
}

// TestSessionNeverPrintsItsSecret looks for the secret, the ID and the engine's state in everything that prints.
func TestSessionNeverPrintsItsSecret(t *testing.T) {
	p := fullParams(t)
	s := newSession(t, p)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%b", "%o", "%U", "%c", "%e"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", *s)
		fmt.Fprintf(&out, verb+"\n", []*reprise.Session{s})
		fmt.Fprintf(&out, verb+"\n", map[string]any{"session": s})
		fmt.Fprintf(&out, verb+"\n", struct{ S *reprise.Session }{s})
		fmt.Fprintf(&out, verb+"\n", s.ID())
		fmt.Fprintf(&out, verb+"\n", p)
	}
	for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		logger.Info("session", "s", s, "id", s.ID(), "params", p, "value", slog.AnyValue(s), "group", slog.GroupValue(slog.Any("s", s)))
	}
	for _, v := range []any{s, *s, []*reprise.Session{s}, map[string]any{"s": s}, s.ID(), p, &p} {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	for what, secret := range map[string][]byte{"secret": p.Secret, "ID": p.ID.Bytes(), "engine state": p.Opaque} {
		for _, form := range forms(secret[:8]) {
			if strings.Contains(strings.ToLower(out.String()), form) {
				t.Errorf("the %s is printed as %s", what, form)
			}
		}
	}
	if !strings.Contains(out.String(), "TLS 1.2") {
		t.Error("nothing is printed at all")
	}
}

// forms returns bytes as they could be printed, in lower case.
func forms(b []byte) []string {
	inJSON := base64.StdEncoding.EncodeToString(b)
	all := []string{strings.ToLower(string(b)), hex.EncodeToString(b), strings.ToLower(inJSON[:len(inJSON)/4*4-4])}
	for _, format := range []string{"%v", "%#v", "%o", "%b", "%U", "%c"} {
		list := fmt.Sprintf(format, b)
		all = append(all, strings.ToLower(list[strings.IndexAny(list, "[{")+1:len(list)-1]))
	}
	return all
}

// TestNewSessionRefuses: the error names the part, and there is no session beside it.
func TestNewSessionRefuses(t *testing.T) {
	for _, test := range []struct {
		says   string
		change func(*reprise.SessionParams)
	}{
		{"without ID", func(p *reprise.SessionParams) { p.ID = reprise.SessionID{} }},
		{"version", func(p *reprise.SessionParams) { p.Version = tls.VersionTLS11 }},
		{"version", func(p *reprise.SessionParams) { p.Version = tls.VersionTLS13 + 1 }},
		{"secret of 0 bytes", func(p *reprise.SessionParams) { p.Secret, p.Opaque = nil, nil }},
		{"secret of 49 bytes", func(p *reprise.SessionParams) { p.Secret = make([]byte, 49) }},
		{"without time of creation", func(p *reprise.SessionParams) { p.Created = time.Time{} }},
		{"negative timeout", func(p *reprise.SessionParams) { p.Timeout = -1 }},
		{"context of 33 bytes", func(p *reprise.SessionParams) { p.Context = make([]byte, 33) }},
		{"server name of 256 bytes", func(p *reprise.SessionParams) { p.ServerName = strings.Repeat("a", 256) }},
		{"ALPN protocol of 256 bytes", func(p *reprise.SessionParams) { p.ALPN = strings.Repeat("a", 256) }},
		{"client chain", func(p *reprise.SessionParams) { p.PeerCertificates = [][]byte{{}} }},
		{"application data", func(p *reprise.SessionParams) { p.ApplicationData = [][]byte{make([]byte, 1<<16)} }},
		{"client chain and application data", func(p *reprise.SessionParams) { p.PeerCertificates = [][]byte{make([]byte, reprise.MaxRecordLength)} }},
	} {
		p := fullParams(t)
		test.change(&p)
		s, err := reprise.NewSession(p)
		if err == nil || s != nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("a session %v, error %v, want one that says %q", s != nil, err, test.says)
		}
	}
}

func TestNewSessionRefusesTimesThatItCannotStore(t *testing.T) {
	for _, change := range []func(*reprise.SessionParams){
		func(p *reprise.SessionParams) { p.Created = time.Unix(-1, 0) },
		func(p *reprise.SessionParams) { p.Created = time.Unix(1<<50, 0) },
		func(p *reprise.SessionParams) { p.Lineage.Start = time.Unix(-1, 0) },
	} {
		p := fullParams(t)
		change(&p)
		if s, err := reprise.NewSession(p); err == nil {
			t.Errorf("session of %v, lineage from %v", s.Created(), s.Lineage().Start)
		}
	}
}

func TestParseSessionRefuses(t *testing.T) {
	good := marshal(t, newSession(t, fullParams(t)))
	if _, err := reprise.ParseSession(good); err != nil {
		t.Fatal(err)
	}
	for length := range good {
		if _, err := reprise.ParseSession(good[:length]); err == nil {
			t.Errorf("the first %d of %d bytes are parsed", length, len(good))
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"a byte too much":      func(b []byte) []byte { return append(b, 0) },
		"a newer revision":     func(b []byte) []byte { b[0]++; return b },
		"TLS 1.1":              func(b []byte) []byte { b[2] = 2; return b },
		"an unknown flag":      func(b []byte) []byte { b[7] |= 0x80; return b },
		"a critical extension": func(b []byte) []byte { return append(b[:len(b)-2], 0, 4, 0x80, 0, 0, 0) },
		"extensions in disorder": func(b []byte) []byte {
			return append(b[:len(b)-2], 0, 8, 0, 2, 0, 0, 0, 1, 0, 0)
		},
		"no count of revocations": func(b []byte) []byte {
			return append(b[:len(b)-2], 0, 12, 0x80, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0)
		},
		"half a count of revocations": func(b []byte) []byte {
			return append(b[:len(b)-2], 0, 8, 0x80, 1, 0, 4, 0, 0, 0, 1)
		},
		"an extension twice": func(b []byte) []byte {
			return append(b[:len(b)-2], 0, 8, 0, 2, 0, 0, 0, 2, 0, 0)
		},
		"an empty ID":      func(b []byte) []byte { return slices.Concat(b[:8], []byte{0}, b[41:]) },
		"an ID too long":   func(b []byte) []byte { return slices.Concat(b[:8], []byte{33}, b[9:41], []byte{0}, b[41:]) },
		"a long secret":    func(b []byte) []byte { return slices.Concat(b[:41], []byte{49}, b[42:90], []byte{0}, b[90:]) },
		"a negative time":  func(b []byte) []byte { b[90] = 0xff; return b },
		"no timeout":       func(b []byte) []byte { clear(b[98:106]); return b },
		"a long timeout":   func(b []byte) []byte { b[99] = 0x10; return b }, // longer than a time.Duration
		"no lineage":       func(b []byte) []byte { clear(b[106:122]); return b },
		"a long lineage":   func(b []byte) []byte { b[133]++; return b }, // by 49 days
		"a wrong lineage":  func(b []byte) []byte { b[133]--; return b },
		"early data again": func(b []byte) []byte { b[7] &^= 2; return b }, // not for single use
		"a long context":   func(b []byte) []byte { return slices.Concat(b[:182], []byte{33}, make([]byte, 33), b[190:]) },
		"a name in capitals": func(b []byte) []byte {
			return bytes.Replace(b, []byte("www.example"), []byte("WWW.example"), 1)
		},
		"an empty certificate": func(b []byte) []byte {
			return bytes.Replace(b, []byte("\x00\x00\x04leaf"), []byte("\x00\x00\x00\x00\x00\x01f"), 1)
		},
		"half a certificate": func(b []byte) []byte {
			return bytes.Replace(b, []byte("\x00\x00\x04leaf"), []byte("\x00\x00\x40leaf"), 1)
		},
		"half its data": func(b []byte) []byte {
			return bytes.Replace(b, []byte("\x00\x0bapplication"), []byte("\x00\x4bapplication"), 1)
		},
		"too many bytes": func(b []byte) []byte { return append(b, make([]byte, reprise.MaxRecordLength)...) },
	} {
		if _, err := reprise.ParseSession(change(bytes.Clone(good))); err == nil {
			t.Errorf("a session with %s is parsed", name)
		}
	}
	p := fullParams(t)
	p.Opaque = nil
	noSecret := marshal(t, newSession(t, p))
	if _, err := reprise.ParseSession(slices.Concat(noSecret[:41], []byte{0}, noSecret[90:])); err == nil {
		t.Error("a session without a secret is parsed")
	}
}

// TestParseSessionOfTooMuch: what could not be put into a record again is refused, though it is no longer than a record may be.
func TestParseSessionOfTooMuch(t *testing.T) {
	p := fullParams(t)
	p.PeerCertificates, p.ApplicationData, p.Opaque = nil, nil, make([]byte, reprise.MaxRecordLength-1024)
	b := marshal(t, newSession(t, p))
	if _, err := reprise.ParseSession(b); err != nil {
		t.Fatal(err)
	}
	state := len(b) - 2 - len(p.Opaque) // behind its length, before the extensions
	b[state-1]++
	b = slices.Insert(b, state, 0)
	if _, err := reprise.ParseSession(b); err == nil || len(b) > reprise.MaxRecordLength {
		t.Errorf("a state of %d bytes: %v", len(p.Opaque)+1, err)
	}
}

func TestParseSessionPassesOverUnknownExtensions(t *testing.T) {
	s := newSession(t, fullParams(t))
	b := marshal(t, s)
	extended := append(b[:len(b)-2:len(b)-2], 0, 10, 0, 1, 0, 2, 'x', 'y', 0x7f, 0xff, 0, 0)
	parsed, err := reprise.ParseSession(extended)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(paramsOf(parsed), paramsOf(s)) {
		t.Error("the session has changed")
	}
}

// TestParseSessionAllocatesNoMoreThanItReads parses short inputs that announce long ones.
func TestParseSessionAllocatesNoMoreThanItReads(t *testing.T) {
	good := marshal(t, newSession(t, fullParams(t)))
	hostile := bytes.Clone(good)
	for i := 60; i < len(hostile); i++ {
		hostile[i] = 0xff
	}
	for name, b := range map[string][]byte{"lengths of 2^24": hostile, "the longest": append(bytes.Clone(good), make([]byte, 1<<24)...)} {
		if n := allocated(func() { _, _ = reprise.ParseSession(b) }); n > 4096 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// allocated returns how many bytes a call of f allocates: the least of some calls, because whatever goes on beside them
// counts too.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 10 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func FuzzParseSession(f *testing.F) {
	p := fullParams(f)
	f.Add(marshal(f, newSession(f, p)))
	p.Version, p.Secret, p.PeerCertificates, p.ApplicationData, p.Opaque = tls.VersionTLS13, p.Secret[:32], nil, nil, nil
	f.Add(marshal(f, newSession(f, p)))
	p.Secret, p.Opaque = nil, []byte("state")
	f.Add(marshal(f, newSession(f, p)))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := reprise.ParseSession(b)
		if err != nil {
			return
		}
		again, err := reprise.ParseSession(marshal(t, s))
		if err != nil {
			t.Fatalf("a parsed session does not parse again: %v", err)
		}
		if !reflect.DeepEqual(paramsOf(s), paramsOf(again)) {
			t.Fatalf("a session has changed:\n%+v\n%+v", paramsOf(s), paramsOf(again))
		}
		if again.Expiry().Before(again.Created()) && again.Lineage().End.After(again.Created()) {
			t.Fatalf("session of %v ends at %v", again.Created(), again.Expiry())
		}
		if made, err := reprise.NewSession(paramsOf(s)); err != nil {
			t.Fatalf("a parsed session can't be made: %v", err)
		} else if !bytes.Equal(marshal(t, made), marshal(t, s)) {
			t.Fatal("a parsed session is another one when it is made")
		}
	})
}
