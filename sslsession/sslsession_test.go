package sslsession_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/sslsession"
)

// fullSession has every field, each with another value than its neighbours.
func fullSession() *sslsession.SSLSession {
	return &sslsession.SSLSession{
		Version:            0x0303,
		CipherSuite:        0xc02f,
		SessionID:          []byte("an ID that must not be shown 123"),
		Secret:             []byte("the 48 bytes of a secret that must not be shown."),
		Time:               1_793_000_000,
		Timeout:            7200,
		PeerCertificate:    []byte{0x30, 0x03, 0x02, 0x01, 0x05},
		SessionIDContext:   []byte("context"),
		VerifyResult:       18,
		ServerName:         []byte("www.example"),
		PSKIdentityHint:    []byte("hint"),
		PSKIdentity:        []byte("identity"),
		TicketLifetimeHint: 300,
		Ticket:             []byte("a ticket that must not be shown"),
		Compression:        1,
		SRPUsername:        []byte("user"),
		Flags:              sslsession.FlagExtendedMasterSecret,
		TicketAgeAdd:       0xdeadbeef,
		MaxEarlyData:       16384,
		ALPN:               []byte("h2"),
		MaxFragmentLength:  255,
		TicketAppData:      []byte("application"),
		KeyExchangeGroup:   29,
		PeerPublicKey:      []byte("public key"),
	}
}

// asn1Session is the same in the words of encoding/asn1, which writes it in its own way.
type asn1Session struct {
	StructureVersion   int
	Version            int
	CipherSuite        []byte
	SessionID          []byte
	Secret             []byte
	Time               int64         `asn1:"explicit,optional,tag:1"`
	Timeout            int64         `asn1:"explicit,optional,tag:2"`
	PeerCertificate    asn1.RawValue // with its tag
	SessionIDContext   []byte        `asn1:"explicit,tag:4"`
	VerifyResult       int64         `asn1:"explicit,optional,tag:5"`
	ServerName         []byte        `asn1:"explicit,optional,omitempty,tag:6"`
	PSKIdentityHint    []byte        `asn1:"explicit,optional,omitempty,tag:7"`
	PSKIdentity        []byte        `asn1:"explicit,optional,omitempty,tag:8"`
	TicketLifetimeHint int64         `asn1:"explicit,optional,tag:9"`
	Ticket             []byte        `asn1:"explicit,optional,omitempty,tag:10"`
	Compression        []byte        `asn1:"explicit,optional,omitempty,tag:11"`
	SRPUsername        []byte        `asn1:"explicit,optional,omitempty,tag:12"`
	Flags              int64         `asn1:"explicit,optional,tag:13"`
	TicketAgeAdd       int64         `asn1:"explicit,optional,tag:14"`
	MaxEarlyData       int64         `asn1:"explicit,optional,tag:15"`
	ALPN               []byte        `asn1:"explicit,optional,omitempty,tag:16"`
	MaxFragmentLength  int64         `asn1:"explicit,optional,tag:17"`
	TicketAppData      []byte        `asn1:"explicit,optional,omitempty,tag:18"`
	KeyExchangeGroup   int64         `asn1:"explicit,tag:19"`
	PeerPublicKey      []byte        `asn1:"explicit,optional,omitempty,tag:20"`
}

func byEncodingASN1(t *testing.T, x *sslsession.SSLSession) []byte {
	t.Helper()
	der, err := asn1.Marshal(asn1Session{
		1,
		int(x.Version),
		[]byte{byte(x.CipherSuite >> 8), byte(x.CipherSuite)},
		x.SessionID,
		x.Secret,
		x.Time,
		x.Timeout,
		asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 3, IsCompound: true, Bytes: x.PeerCertificate},
		x.SessionIDContext,
		int64(x.VerifyResult),
		x.ServerName,
		x.PSKIdentityHint,
		x.PSKIdentity,
		int64(x.TicketLifetimeHint),
		x.Ticket,
		[]byte{x.Compression},
		x.SRPUsername,
		int64(x.Flags),
		int64(x.TicketAgeAdd),
		int64(x.MaxEarlyData),
		x.ALPN,
		int64(x.MaxFragmentLength),
		x.TicketAppData,
		int64(x.KeyExchangeGroup),
		x.PeerPublicKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func mustMarshal(t testing.TB, x *sslsession.SSLSession) []byte {
	t.Helper()
	der, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func mustParse(t testing.TB, der []byte) *sslsession.SSLSession {
	t.Helper()
	x, rest, err := sslsession.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes were left", len(rest))
	}
	return x
}

func TestEveryFieldIsWrittenAndRead(t *testing.T) {
	x := fullSession()
	v := reflect.ValueOf(*x)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test does not set %s", v.Type().Field(i).Name)
		}
	}
	der := mustMarshal(t, x)
	if want := byEncodingASN1(t, x); !bytes.Equal(der, want) {
		t.Errorf("Marshal wrote\n%x\nwant\n%x", der, want)
	}
	if got := mustParse(t, der); !reflect.DeepEqual(got, x) {
		t.Errorf("read back as\n%#v\nwant\n%#v", fields(got), fields(x))
	}
}

// fields shows what String hides.
func fields(x *sslsession.SSLSession) any {
	type open sslsession.SSLSession
	return open(*x)
}

func TestExtremeValues(t *testing.T) {
	for name, change := range map[string]func(*sslsession.SSLSession){
		"all zero":              func(x *sslsession.SSLSession) { *x = sslsession.SSLSession{Version: 0x0304} },
		"TLS 1.0":               func(x *sslsession.SSLSession) { x.Version = 0x0301 },
		"DTLS 1.2":              func(x *sslsession.SSLSession) { x.Version = 0xfefd },
		"DTLS of OpenSSL 0.9.8": func(x *sslsession.SSLSession) { x.Version = 0x0100 },
		"smallest numbers": func(x *sslsession.SSLSession) {
			x.Time, x.Timeout, x.VerifyResult = -1<<63, -1, -1<<31
		},
		"largest numbers": func(x *sslsession.SSLSession) {
			x.Time, x.Timeout, x.VerifyResult = 1<<63-1, 1<<63-1, 1<<31-1
			x.TicketLifetimeHint, x.Compression, x.Flags = 1<<64-1, 255, 1<<32-1
			x.TicketAgeAdd, x.MaxEarlyData, x.KeyExchangeGroup = 1<<32-1, 1<<32-1, 1<<32-1
		},
		"empty strings": func(x *sslsession.SSLSession) {
			x.ServerName, x.PSKIdentityHint, x.PSKIdentity, x.Ticket = []byte{}, []byte{}, []byte{}, []byte{}
			x.SRPUsername, x.ALPN, x.TicketAppData, x.PeerPublicKey = []byte{}, []byte{}, []byte{}, []byte{}
		},
		"longest strings": func(x *sslsession.SSLSession) {
			x.SessionID, x.SessionIDContext = make([]byte, 32), make([]byte, 32)
			x.Secret, x.Ticket, x.TicketAppData = make([]byte, 512), make([]byte, 1<<17), make([]byte, 1<<16)
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := fullSession()
			change(x)
			got := mustParse(t, mustMarshal(t, x))
			if x.SessionID == nil { // these are always written, and read as empty
				x.SessionID, x.Secret, x.SessionIDContext = []byte{}, []byte{}, []byte{}
			}
			if !reflect.DeepEqual(got, x) {
				t.Errorf("read back as\n%#v\nwant\n%#v", fields(got), fields(x))
			}
		})
	}
}

// vector is a file of testdata: what OpenSSL wrote, and what is in it as its own asn1parse shows it.
type vector struct {
	header map[string]string
	pem    []byte
	der    []byte
}

func vectors(t testing.TB) map[string]vector {
	t.Helper()
	names, err := filepath.Glob("testdata/*.pem")
	if err != nil || len(names) < 11 {
		t.Fatal("the vectors are missing", err)
	}
	all := make(map[string]vector)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		start := bytes.Index(data, []byte("-----BEGIN"))
		v := vector{header: make(map[string]string), pem: data[start:]}
		for line := range strings.Lines(string(data[:start])) {
			if key, value, ok := strings.Cut(line, ":"); ok {
				v.header[key] = strings.TrimSpace(value)
			}
		}
		block, _ := pem.Decode(v.pem)
		v.der = block.Bytes
		all[filepath.Base(name)] = v
	}
	return all
}

func TestVectorsComeBackByteForByte(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			x := mustParse(t, v.der)
			if got := mustMarshal(t, x); !bytes.Equal(got, v.der) {
				t.Errorf("written as\n%x\nwant\n%x", got, v.der)
			}
			if got := fmt.Sprintf("%#04x", x.Version); got != v.header["version"] {
				t.Errorf("version %s, want %s", got, v.header["version"])
			}
			if got := fmt.Sprintf("%#04x", x.CipherSuite); got != v.header["suite"] {
				t.Errorf("cipher suite %s, want %s", got, v.header["suite"])
			}
			if got := presentTags(x); got != v.header["tags"] {
				t.Errorf("has the fields %s, want %s", got, v.header["tags"])
			}
		})
	}
}

// presentTags lists the tags of the fields that are set, and the two that are always written.
func presentTags(x *sslsession.SSLSession) string {
	var tags []string
	for tag, present := range []bool{
		1:  x.Time != 0,
		2:  x.Timeout != 0,
		3:  x.PeerCertificate != nil,
		4:  true,
		5:  x.VerifyResult != 0,
		6:  x.ServerName != nil,
		7:  x.PSKIdentityHint != nil,
		8:  x.PSKIdentity != nil,
		9:  x.TicketLifetimeHint != 0,
		10: x.Ticket != nil,
		11: x.Compression != 0,
		12: x.SRPUsername != nil,
		13: x.Flags != 0,
		14: x.TicketAgeAdd != 0,
		15: x.MaxEarlyData != 0,
		16: x.ALPN != nil,
		17: x.MaxFragmentLength != 0,
		18: x.TicketAppData != nil,
		19: true,
		20: x.PeerPublicKey != nil,
	} {
		if present {
			tags = append(tags, fmt.Sprint(tag))
		}
	}
	return strings.Join(tags, " ")
}

func TestVectorOfStunnel(t *testing.T) {
	x := mustParse(t, vectors(t)["stunnel.server.pem"].der)
	id, _ := hex.DecodeString("bab339f5f953e4d1f9deb35f970053a6ff7bd5247e71076fc53198d55528bab5")
	secret, _ := hex.DecodeString("fc77186f1075b33251ced67c85eedce5243e6934926c0e7e259efbd096378ea6456a4d0e4b443035ef6f52ff6e6b6ed2")
	want := &sslsession.SSLSession{
		Version: 0x0303, CipherSuite: 0xc030, SessionID: id, Secret: secret, Time: 0x6b035cd9, Timeout: 300,
		SessionIDContext: []byte("t"), Flags: sslsession.FlagExtendedMasterSecret, KeyExchangeGroup: 0x1d,
	}
	if !reflect.DeepEqual(x, want) {
		t.Errorf("read as\n%#v\nwant\n%#v", fields(x), fields(want))
	}
}

// The handles of a client's session: the ID of a TLS 1.3 one is the SHA-256 of the ticket.
func TestVectorOfClient(t *testing.T) {
	x := mustParse(t, vectors(t)["tls13.client.pem"].der)
	server := mustParse(t, vectors(t)["tls13.server.pem"].der)
	if !bytes.Equal(x.Ticket, server.SessionID) || !bytes.Equal(x.Secret, server.Secret) || x.TicketAgeAdd != server.TicketAgeAdd {
		t.Error("the two sides of one TLS 1.3 session do not agree")
	}
	if x.TicketLifetimeHint != 7200 || string(x.ALPN) != "h2" || x.VerifyResult != 18 || bytes.Equal(x.SessionID, server.SessionID) {
		t.Errorf("read as\n%#v", fields(x))
	}
}

func TestParseHandsBackWhatFollows(t *testing.T) {
	first, second := mustMarshal(t, fullSession()), vectors(t)["tls13.server.pem"].der
	x, rest, err := sslsession.Parse(append(bytes.Clone(first), second...))
	if err != nil || !bytes.Equal(rest, second) {
		t.Fatalf("rest %x, error %v", rest, err)
	}
	if !reflect.DeepEqual(x, fullSession()) {
		t.Errorf("read as\n%#v", fields(x))
	}
	mustParse(t, rest)
}

func TestParsedSessionSharesNoMemory(t *testing.T) {
	der := mustMarshal(t, fullSession())
	x := mustParse(t, der)
	clear(der)
	if !reflect.DeepEqual(x, fullSession()) {
		t.Error("the session changed with the bytes that it was read from")
	}
}

// The five elements that every session has.
const minimal = "020101" + "02020304" + "04021301" + "0401aa" + "0402bbbb"

func sequence(t testing.TB, content string) []byte {
	t.Helper()
	body, err := hex.DecodeString(strings.ReplaceAll(content, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOpenSSLNormalForm: what OpenSSL accepts and would write in another way, it is written in that way here too.
func TestOpenSSLNormalForm(t *testing.T) {
	const always = "a402 0400" + "b303 020100"
	for name, c := range map[string]struct{ in, out string }{
		"only what is required":      {minimal, minimal + always},
		"key_arg":                    {minimal + "8003 010203" + "a103 020101", minimal + "a103 020101" + always},
		"key_arg, empty":             {minimal + "8000", minimal + always},
		"time and timeout of zero":   {minimal + "a103 020100 a203 020100", minimal + always},
		"verify result of zero":      {minimal + "a503 020100", minimal + always},
		"compression of zero":        {minimal + "ab03 040100", minimal + always},
		"other numbers of zero":      {minimal + "a903 020100 ad03 020100 ae03 020100 af03 020100 b103 020100", minimal + always},
		"without group, as of 1.1.1": {minimal + "a403 040161", minimal + "a403 040161" + "b303 020100"},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustMarshal(t, mustParse(t, sequence(t, c.in)))
			if want := sequence(t, c.out); !bytes.Equal(got, want) {
				t.Errorf("written as\n%x\nwant\n%x", got, want)
			}
		})
	}
}

func TestMalformedSessionsAreRefused(t *testing.T) {
	id33, secret513 := strings.Repeat("aa", 33), strings.Repeat("bb", 513)
	for _, c := range []struct{ name, content, field string }{
		{"empty", "", "structure version: missing"},
		{"structure version 2", "020102" + minimal[6:], "structure version"},
		{"structure version 257", "02020101" + minimal[6:], "structure version"},
		{"structure version as string", "040101" + minimal[6:], "structure version"},
		{"protocol version 2", "020101 02020002 04021301 0400 0400", "protocol version"},
		{"protocol version 0x10303", "020101 0203010303 04021301 0400 0400", "protocol version"},
		{"protocol version, negative", "020101 0202ff03 04021301 0400 0400", "protocol version"},
		{"cipher suite of 3 bytes", "020101 02020304 0403001301 0400 0400", "cipher suite"},
		{"cipher suite of 1 byte", "020101 02020304 040113 0400 0400", "cipher suite"},
		{"session ID missing", "020101 02020304 04021301", "session ID: missing"},
		{"session ID of 33 bytes", "020101 02020304 04021301 0421" + id33 + "0400", "session ID: 33 bytes"},
		{"secret missing", "020101 02020304 04021301 0400", "secret: missing"},
		{"secret of 513 bytes", "020101 02020304 04021301 0400 04820201" + secret513, "secret: 513 bytes"},
		{"secret as integer", "020101 02020304 04021301 0400 020101", "secret"},
		{"session ID in pieces", "020101 02020304 04021301 2403 0401aa 0400", "session ID"},
		{"key_arg twice", minimal + "8000 8000", "0x80"},
		{"key_arg behind time", minimal + "a103 020101 8000", "0x80"},
		{"key_arg too long", minimal + "8005 00", "[0] key_arg"},
		{"time, implicit", minimal + "8101 01", "0x81"},
		{"time, primitive", minimal + "8103 020101", "0x81"},
		{"time without value", minimal + "a100", "[1] time: missing"},
		{"time as string", minimal + "a103 040101", "[1] time"},
		{"time of 9 bytes", minimal + "a10b 0209 010000000000000000", "[1] time"},
		{"time twice", minimal + "a103 020101 a103 020101", "[1] time: a second time"},
		{"time with two values", minimal + "a106 020101 020101", "[1] time: followed by 3 bytes"},
		{"time not minimal", minimal + "a104 02020001", "[1] time"},
		{"time, negative and not minimal", minimal + "a104 0202ff80", "[1] time"},
		{"time of no bytes", minimal + "a102 0200", "[1] time"},
		{"time too long", minimal + "a105 020101", "[1] time: bad length"},
		{"timeout before time", minimal + "a203 020101 a103 020101", "[1] time: a second time, or not in ascending order"},
		{"timeout of 9 bytes", minimal + "a20b 0209 010000000000000000", "[2] timeout"},
		{"certificate as string", minimal + "a303 040130", "[3] peer certificate"},
		{"two certificates", minimal + "a304 3000 3000", "[3] peer certificate: followed by 2 bytes"},
		{"context of 33 bytes", minimal + "a423 0421" + id33, "[4] session ID context: 33 bytes"},
		{"verify result of 33 bits", minimal + "a507 0205 0080000000", "[5] verify result"},
		{"server name with a zero byte", minimal + "a605 0403 610062", "[6] server name: holds a zero byte"},
		{"server name as UTF8String", minimal + "a603 0c0161", "[6] server name"},
		{"PSK identity hint as integer", minimal + "a703 020101", "[7] PSK identity hint"},
		{"PSK identity with a zero byte", minimal + "a803 040100", "[8] PSK identity"},
		{"ticket lifetime hint, negative", minimal + "a903 0201ff", "[9] ticket lifetime hint"},
		{"ticket lifetime hint of 65 bits", minimal + "a90b 0209 010000000000000000", "[9] ticket lifetime hint"},
		{"ticket as integer", minimal + "aa03 020101", "[10] ticket"},
		{"compression of 2 bytes", minimal + "ab04 0402 0101", "[11] compression"},
		{"compression of no bytes", minimal + "ab02 0400", "[11] compression"},
		{"SRP user name with a zero byte", minimal + "ac03 040100", "[12] SRP user name"},
		{"flags, negative", minimal + "ad03 0201ff", "[13] flags"},
		{"flags of 33 bits", minimal + "ad07 0205 0100000000", "[13] flags"},
		{"ticket age_add of 33 bits", minimal + "ae07 0205 0100000000", "[14] ticket age_add"},
		{"max early data of 33 bits", minimal + "af07 0205 0100000000", "[15] max early data"},
		{"ALPN, implicit", minimal + "9002 6832", "0x90"},
		{"max fragment length of 9 bits", minimal + "b104 0202 0100", "[17] max fragment length"},
		{"ticket application data as integer", minimal + "b203 020101", "[18] ticket application data"},
		{"group of 33 bits", minimal + "b307 0205 0100000000", "[19] key exchange group"},
		{"group, negative", minimal + "b303 0201ff", "[19] key exchange group"},
		{"peer public key as integer", minimal + "b403 020101", "[20] peer public key"},
		{"unknown tag 21", minimal + "b503 020101", "0xb5"},
		{"unknown untagged element", minimal + "0500", "0x05"},
		{"high tag number", minimal + "bf1f03 020101", "0xbf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, rest, err := sslsession.Parse(sequence(t, c.content))
			if err == nil || x != nil || rest != nil {
				t.Fatalf("accepted as %#v", fields(x))
			}
			if !strings.HasPrefix(err.Error(), "sslsession: malformed session: ") || !strings.Contains(err.Error(), c.field) {
				t.Errorf("the error %q does not tell of %q", err, c.field)
			}
		})
	}
}

func TestWhatIsNoSequenceInDERIsRefused(t *testing.T) {
	good := mustMarshal(t, fullSession())
	for n := range good {
		if _, _, err := sslsession.Parse(good[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes, it was accepted", n, len(good))
		}
	}
	small := sequence(t, minimal)
	for name, der := range map[string][]byte{
		"a set":                append([]byte{0x31}, small[1:]...),
		"an indefinite length": append(append([]byte{0x30, 0x80}, small[2:]...), 0, 0),
		"a long form":          append([]byte{0x30, 0x81}, small[1:]...),
		"an absurd length":     append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, small[2:]...),
	} {
		if _, _, err := sslsession.Parse(der); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestMarshalRefusesWhatOpenSSLWouldNotRead(t *testing.T) {
	for field, change := range map[string]func(*sslsession.SSLSession){
		"protocol version":        func(x *sslsession.SSLSession) { x.Version = 0 },
		"session ID":              func(x *sslsession.SSLSession) { x.SessionID = make([]byte, 33) },
		"secret":                  func(x *sslsession.SSLSession) { x.Secret = make([]byte, 513) },
		"[3] peer certificate":    func(x *sslsession.SSLSession) { x.PeerCertificate = []byte("leaf") },
		"[4] session ID context":  func(x *sslsession.SSLSession) { x.SessionIDContext = make([]byte, 33) },
		"[6] server name":         func(x *sslsession.SSLSession) { x.ServerName = []byte("a\x00b") },
		"[7] PSK identity hint":   func(x *sslsession.SSLSession) { x.PSKIdentityHint = []byte{0} },
		"[8] PSK identity":        func(x *sslsession.SSLSession) { x.PSKIdentity = []byte{0} },
		"[12] SRP user name":      func(x *sslsession.SSLSession) { x.SRPUsername = []byte{0} },
		"[3] peer certificate: ":  func(x *sslsession.SSLSession) { x.PeerCertificate = []byte{0x30, 0, 0x30, 0} },
		"[3] peer certificate: n": func(x *sslsession.SSLSession) { x.PeerCertificate = []byte{} },
	} {
		t.Run(field, func(t *testing.T) {
			x := fullSession()
			change(x)
			der, err := x.Marshal()
			if err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("error %v", err)
			}
			if der != nil {
				t.Error("there are bytes beside the error")
			}
		})
	}
}

// FuzzParse holds Parse and Marshal to the normal form of TestOpenSSLNormalForm, which normalForm makes in its own way.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.der)
	}
	f.Add(mustMarshal(f, fullSession()))
	f.Add(sequence(f, minimal+"8003 010203 a103 020100 a503 020100 ab03 040100"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, rest, err := sslsession.Parse(data)
		if err != nil {
			return
		}
		der, err := x.Marshal()
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		if want := normalForm(t, data[:len(data)-len(rest)]); !bytes.Equal(der, want) {
			t.Fatalf("written as\n%x\nwant\n%x", der, want)
		}
		again, rest, err := sslsession.Parse(der)
		if err != nil || len(rest) > 0 {
			t.Fatalf("what was written can't be read: %d bytes left, %v", len(rest), err)
		}
		if back := mustMarshal(t, again); !bytes.Equal(back, der) {
			t.Fatalf("written a second time as\n%x\nwant\n%x", back, der)
		}
	})
}

// normalForm drops from a session what OpenSSL drops, and adds what it adds.
func normalForm(t *testing.T, der []byte) []byte {
	t.Helper()
	var session asn1.RawValue
	if _, err := asn1.Unmarshal(der, &session); err != nil {
		t.Fatal(err)
	}
	elements := make(map[int][]byte)
	var out []byte
	for rest := session.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			t.Fatal(err)
		}
		zero := bytes.Equal(v.Bytes, []byte{asn1.TagInteger, 1, 0}) || v.Tag == 11 && bytes.Equal(v.Bytes, []byte{asn1.TagOctetString, 1, 0})
		switch {
		case v.Class == asn1.ClassUniversal:
			out = append(out, v.FullBytes...)
		case v.Tag != 0 && (!zero || v.Tag == 19):
			elements[v.Tag] = v.FullBytes
		}
	}
	for tag, always := range map[int][]byte{4: {0xa4, 2, asn1.TagOctetString, 0}, 19: {0xb3, 3, asn1.TagInteger, 1, 0}} {
		if elements[tag] == nil {
			elements[tag] = always
		}
	}
	for tag := 1; tag <= 20; tag++ {
		out = append(out, elements[tag]...)
	}
	normal, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: out})
	if err != nil {
		t.Fatal(err)
	}
	return normal
}
