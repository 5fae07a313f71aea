package reprise

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

var (
	recordNow = time.UnixMilli(1_793_000_000_000)

	// fixedKeys are two fleet keys that are always the same, so that fuzzing can keep what it finds.
	fixedKeys = func() *FleetKeys {
		k, err := NewFleetKeys(bytes.Repeat([]byte{1}, FleetKeyLength), bytes.Repeat([]byte{2}, FleetKeyLength))
		if err != nil {
			panic(err)
		}
		return k
	}()
)

func recordParams(id SessionID) SessionParams {
	secret := make([]byte, 48)
	rand.Read(secret)
	return SessionParams{
		ID:               id,
		Version:          tls.VersionTLS12,
		CipherSuite:      tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		Secret:           secret,
		Created:          recordNow,
		Scope:            Scope{1, 2, 3, 4, 5, 6, 7, 8},
		ServerName:       "www.example",
		PeerCertificates: [][]byte{[]byte("the leaf in DER"), []byte("its issuer in DER")},
	}
}

func newTestSession(t testing.TB, p SessionParams) *Session {
	t.Helper()
	s, err := NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(t testing.TB, s *Session) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordOpensAsItWasSealed(t *testing.T) {
	k := RandomFleetKeys()
	s := newTestSession(t, recordParams(k.current(recordNow).newID()))
	key := k.keyOf(s.id)
	record := key.seal(s, 42)
	if len(record) != s.recordLength() {
		t.Errorf("record of %d bytes, of %d as it says", len(record), s.recordLength())
	}
	opened, header, err := key.open(s.id, record)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, opened), encoded(t, s)) {
		t.Error("the session has changed")
	}
	parsed, err := ParseRecordHeader(record)
	if err != nil || parsed != header {
		t.Errorf("header %+v, %v, want %+v", parsed, err, header)
	}
	if !header.Created.Equal(s.Created()) || !header.Expiry.Equal(s.Expiry()) || header.Incarnation != 42 {
		t.Errorf("header %+v of a session from %v to %v", header, s.Created(), s.Expiry())
	}
	if bytes.Equal(record, key.seal(s, 42)) {
		t.Error("two records of a session are equal: where is the nonce?")
	}
}

// TestRecordHidesItsSession checks the claim that a store dump with all traffic recorded, and so all IDs known,
// resumes and decrypts nothing without the fleet key.
func TestRecordHidesItsSession(t *testing.T) {
	k := RandomFleetKeys()
	s := newTestSession(t, recordParams(k.current(recordNow).newID()))
	key := k.keyOf(s.id)
	record := key.seal(s, 42)
	storeKey := key.storeKey(s.id)
	dump := append(record, storeKey[:]...)

	for what, secret := range map[string][]byte{
		"ID":                 s.id.Bytes(),
		"random part of ID":  s.id.Bytes()[:sessionIDRandom],
		"secret":             s.Secret(),
		"server name":        []byte(s.ServerName()),
		"scope":              s.profile.scope[:8],
		"lineage":            s.lineage.id[:],
		"client certificate": []byte("the leaf in DER"),
	} {
		for n := 4; n <= len(secret); n += 4 {
			if bytes.Contains(dump, secret[n-4:n]) && !allZero(secret[n-4:n]) {
				t.Errorf("bytes of the %s are in the dump", what)
			}
		}
	}
	for range 10 {
		if _, _, err := RandomFleetKeys().keys[0].open(s.id, record); err == nil {
			t.Fatal("the record opens under another fleet key")
		}
	}
	if RandomFleetKeys().keys[0].storeKey(s.id) == storeKey {
		t.Error("the store key does not depend on the fleet key")
	}
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// TestRecordOpensUnderItsOwnIDOnly: a writer of the store can't answer with another session's record.
func TestRecordOpensUnderItsOwnIDOnly(t *testing.T) {
	k := RandomFleetKeys()
	key := k.keys[0]
	mine := newTestSession(t, recordParams(k.current(recordNow).newID()))
	other := newTestSession(t, recordParams(k.current(recordNow).newID()))
	if _, _, err := key.open(mine.id, key.seal(other, 42)); err == nil {
		t.Error("another session's record opens")
	}

	// Even a record that was sealed for mine.id, by someone who could, must hold the session mine.id.
	sealingKey := key.sealingKey(mine.id)
	block, err := aes.NewCipher(sealingKey[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	header := key.appendRecordHeader(nil, mine, 0)
	forged := aead.Seal(bytes.Clone(header), nil, encoded(t, other), header)
	if _, _, err := key.open(mine.id, forged); err == nil || !strings.Contains(err.Error(), "another session") {
		t.Errorf("a record with another session in it opens: %v", err)
	}
}

func TestRecordOpensUnchangedOnly(t *testing.T) {
	k := RandomFleetKeys()
	s := newTestSession(t, recordParams(k.current(recordNow).newID()))
	record := k.keys[0].seal(s, 42)
	for i := range record {
		changed := bytes.Clone(record)
		changed[i] ^= 1
		if _, _, err := k.keys[0].open(s.id, changed); err == nil {
			t.Errorf("record opens with byte %d changed", i)
		}
		if _, _, err := k.keys[0].open(s.id, record[:i]); err == nil {
			t.Errorf("record opens with its first %d bytes only", i)
		}
	}
	if _, _, err := k.keys[0].open(s.id, append(record, 0)); err == nil {
		t.Error("record opens with a byte behind it")
	}
}

func TestRecordTagsTellSessionsApartAndNothingElse(t *testing.T) {
	k := fixedKeys
	tags := func(key *fleetKey, change func(*SessionParams)) RecordHeader {
		p := recordParams(k.current(recordNow).newID())
		p.Lineage = Lineage{ID: [16]byte{9}, Start: recordNow}
		change(&p)
		header, err := ParseRecordHeader(key.seal(newTestSession(t, p), 42))
		if err != nil {
			t.Fatal(err)
		}
		return RecordHeader{Scope: header.Scope, Lineage: header.Lineage, ServerName: header.ServerName, ClientCertificate: header.ClientCertificate}
	}
	base := tags(k.keys[0], func(*SessionParams) {})
	if same := tags(k.keys[0], func(p *SessionParams) { p.PeerCertificates = p.PeerCertificates[:1] }); same != base {
		t.Errorf("equal properties, other tags: %v, %v", same, base)
	}
	for name, c := range map[string]struct {
		change func(*SessionParams)
		tag    func(*RecordHeader) *RecordTag
	}{
		"scope":       {func(p *SessionParams) { p.Scope[31]++ }, func(h *RecordHeader) *RecordTag { return &h.Scope }},
		"lineage":     {func(p *SessionParams) { p.Lineage.ID[15]++ }, func(h *RecordHeader) *RecordTag { return &h.Lineage }},
		"server name": {func(p *SessionParams) { p.ServerName = "" }, func(h *RecordHeader) *RecordTag { return &h.ServerName }},
		"certificate": {func(p *SessionParams) { p.PeerCertificates = nil }, func(h *RecordHeader) *RecordTag { return &h.ClientCertificate }},
	} {
		h := tags(k.keys[0], c.change)
		if *c.tag(&h) == *c.tag(&base) {
			t.Errorf("another %s, the same tag", name)
		}
		*c.tag(&h) = *c.tag(&base)
		if h != base {
			t.Errorf("another %s changes other tags", name)
		}
	}
	none := tags(k.keys[0], func(p *SessionParams) { p.ServerName, p.PeerCertificates = "", nil })
	if none.ServerName != (RecordTag{}) || none.ClientCertificate != (RecordTag{}) {
		t.Errorf("tags of what is not there: %+v", none)
	}
	other := tags(k.keys[1], func(*SessionParams) {})
	if other.Scope == base.Scope || other.Lineage == base.Lineage || other.ServerName == base.ServerName || other.ClientCertificate == base.ClientCertificate {
		t.Error("a tag does not depend on the fleet key")
	}
}

func TestLongestSessionFitsIntoARecord(t *testing.T) {
	p := recordParams(RandomFleetKeys().current(recordNow).newID())
	p.Context = make([]byte, MaxContextLength)
	p.ServerName = strings.Repeat("a", 255)
	p.ALPN = strings.Repeat("b", 255)
	p.PeerCertificates = nil
	p.Opaque = make([]byte, maxVariable)
	s := newTestSession(t, p)
	record := fixedKeys.keys[0].seal(s, 42)
	if len(record) > MaxRecordLength || len(record) != s.recordLength() {
		t.Errorf("record of %d bytes, of %d as it says", len(record), s.recordLength())
	}
	if _, _, err := fixedKeys.keys[0].open(s.id, record); err != nil {
		t.Error(err)
	}
}

func TestRecordHeaderGrowsByExtensions(t *testing.T) {
	k := fixedKeys
	s := newTestSession(t, recordParams(k.current(recordNow).newID()))
	header := k.keys[0].appendRecordHeader(nil, s, 0)
	sealWith := func(extension []byte) []byte {
		h := binary.BigEndian.AppendUint16(bytes.Clone(header[:len(header)-2]), uint16(len(extension)))
		h = append(h, extension...)
		return k.keys[0].aead(s.id).Seal(bytes.Clone(h), nil, encoded(t, s), h)
	}
	if _, _, err := k.keys[0].open(s.id, sealWith([]byte{0, 1, 0, 1, 'x'})); err != nil {
		t.Errorf("record with an unknown extension: %v", err)
	}
	if _, _, err := k.keys[0].open(s.id, sealWith([]byte{0x80, 1, 0, 1, 'x'})); err == nil {
		t.Error("record with an unknown critical extension opens")
	}
}

func FuzzOpenRecord(f *testing.F) {
	key := fixedKeys.keys[0]
	id, err := MakeSessionID([]byte("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	s := newTestSession(f, recordParams(id))
	f.Add(key.seal(s, 42))
	f.Add([]byte{recordRevision})
	f.Fuzz(func(t *testing.T, record []byte) {
		headerOnly, headerErr := ParseRecordHeader(record)
		opened, header, err := key.open(id, record)
		if err != nil {
			return
		}
		if headerErr != nil || headerOnly != header {
			t.Fatalf("record opens with header %+v; read alone it is %+v, %v", header, headerOnly, headerErr)
		}
		if opened.id != id {
			t.Fatal("another session")
		}
		encoded(t, opened)
	})
}

// FuzzOpenRecordInside is FuzzOpenRecord for what is under the seal.
func FuzzOpenRecordInside(f *testing.F) {
	key := fixedKeys.keys[0]
	id, err := MakeSessionID([]byte("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	s := newTestSession(f, recordParams(id))
	f.Add(key.appendRecordHeader(nil, s, 0), encoded(f, s))
	f.Fuzz(func(t *testing.T, header, session []byte) {
		record := key.aead(id).Seal(bytes.Clone(header), nil, session, header)
		if opened, _, err := key.open(id, record); err == nil && opened.id != id {
			t.Fatal("another session")
		}
	})
}

// BenchmarkSeal and BenchmarkOpen: what the binding costs a handshake besides the queue.
func BenchmarkSeal(b *testing.B) {
	p := recordParams(fixedKeys.current(recordNow).newID())
	p.PeerCertificates = nil
	s := newTestSession(b, p)
	b.ReportAllocs()
	for b.Loop() {
		fixedKeys.keyOf(s.id).seal(s, 0)
	}
}

func BenchmarkOpen(b *testing.B) {
	p := recordParams(fixedKeys.current(recordNow).newID())
	p.PeerCertificates = nil
	s := newTestSession(b, p)
	record := fixedKeys.keys[0].seal(s, 42)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := fixedKeys.keyOf(s.id).open(s.id, record); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNothingIsLeftOfPlaintexts: the memory that records are made and opened in holds nothing of a session afterwards.
func TestNothingIsLeftOfPlaintexts(t *testing.T) {
	key := RandomFleetKeys().keys[0]
	s := newTestSession(t, recordParams(key.newID()))
	record := key.seal(s, 0)
	bad := bytes.Clone(record)
	bad[len(bad)-1]++
	for _, record := range [][]byte{record, bad} {
		if _, _, err := key.open(s.id, record); (err != nil) != (&record[0] == &bad[0]) {
			t.Fatal(err)
		}
		memory := plaintexts.Get().(*[]byte)
		if whole := (*memory)[:cap(*memory)]; len(bytes.Trim(whole, "\x00")) > 0 {
			t.Errorf("left: %x", whole)
		}
		plaintexts.Put(memory)
	}
}
