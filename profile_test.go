package reprise

import (
	"crypto/tls"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestProfileOfTheFormerSession: a session has the profile of the one that was resumed just if it would have an equal one.
func TestProfileOfTheFormerSession(t *testing.T) {
	bytesOf := func(choices ...string) []byte { return []byte(choices[rand.IntN(len(choices))]) }
	list := func() (l [][]byte) {
		for range rand.IntN(3) {
			l = append(l, bytesOf("a", "ab", "b", "\x00\x00\x01a"))
		}
		return l
	}
	params := func() SessionParams {
		return SessionParams{
			Version: tls.VersionTLS13, Scope: Scope{byte(rand.IntN(2))}, Context: bytesOf("", "c"), ServerName: string(bytesOf("", "a.example")),
			ALPN: string(bytesOf("", "h2")), PeerCertificates: list(), ApplicationData: list(), Opaque: bytesOf("", "o"),
			captured: revocationCount(rand.IntN(2)),
		}
	}
	equal := 0
	for range 200_000 {
		former, p := params(), params()
		if rand.IntN(3) == 0 {
			p = former
		}
		of, err := newProfile(&former)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := newProfile(&p)
		if err != nil {
			t.Fatal(err)
		}
		p.former = of
		got, err := newProfile(&p)
		if err != nil || got.traits != fresh.traits {
			t.Fatalf("%+v after %+v has the profile %+v, %v", fresh.traits, of.traits, got.traits, err)
		}
		if (got == of) != (of.traits == fresh.traits) {
			t.Fatalf("%+v after %+v: the former profile %v", fresh.traits, of.traits, got == of)
		}
		if got == of {
			equal++
		}
	}
	if equal < 10_000 {
		t.Errorf("only %d had the former profile", equal)
	}
}

// TestTagsOfAnotherKey: the tags of a profile that are kept are those of one fleet key.
func TestTagsOfAnotherKey(t *testing.T) {
	a, b := RandomFleetKeys(), RandomFleetKeys()
	s := newTestSession(t, recordParams(a.current(recordNow).newID()))
	for range 2 {
		for _, k := range []*FleetKeys{a, b, b, a} {
			key := k.keys[0]
			header, err := ParseRecordHeader(key.seal(s, 1))
			if err != nil {
				t.Fatal(err)
			}
			if header.Scope != key.recordTag(tagScope, s.profile.scope[:]) || header.ServerName != key.recordTag(tagServerName, []byte(s.profile.serverName)) ||
				header.ClientCertificate != key.recordTag(tagCertificate, s.leaf()) || header.Lineage != key.recordTag(tagLineage, s.lineage.id[:]) {
				t.Error("a tag is that of another key")
			}
		}
	}
}

// TestIsEncodingOf: bytes that fall together do not make other elements the same.
func TestIsEncodingOf(t *testing.T) {
	for _, prefix := range []int{2, 3} {
		encoded, err := encodeVectors([][]byte{[]byte("ab"), []byte("c")}, prefix, 0)
		if err != nil {
			t.Fatal(err)
		}
		boundary := append(make([]byte, prefix-1), 1)
		if joined := slices.Concat([]byte("ab"), boundary, []byte("c")); isEncodingOf(string(encoded), prefix, [][]byte{joined}) {
			t.Errorf("one element of %q is not two", joined)
		}
		if !isEncodingOf(string(encoded), prefix, [][]byte{[]byte("ab"), []byte("c")}) {
			t.Error("an encoding is not known again")
		}
	}
}
