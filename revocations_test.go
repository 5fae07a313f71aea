package reprise

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// randomRevocations are up to 60 revocations of few names, so that some are of the same.
func randomRevocations(random *rand.Rand) *revocations {
	r := (&revocations{}).clone()
	r.begin(milliseconds(random.IntN(100)))
	for range random.IntN(61) {
		name := revokedName{byte(random.IntN(numProperties)), RecordTag{byte(random.IntN(50))}}
		if name.property == allLineages {
			name = revokedName{}
		}
		r.add([]revokedName{name}, milliseconds(random.IntN(int(revocationLifetime)*2)))
	}
	return r
}

// TestRevocationsJoin: in whichever order nodes tell each other what they know, they come to know the same.
func TestRevocationsJoin(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b, c := randomRevocations(random), randomRevocations(random), randomRevocations(random)
		abc, cba := a.clone(), c.clone()
		abc.join(b)
		abc.join(c)
		cba.join(b)
		cba.join(a)
		again := abc.clone()
		again.join(a)
		if !abc.equal(cba) || !again.equal(abc) || abc.newest != cba.newest {
			t.Fatalf("%+v\n%+v\n%+v", abc, cba, again)
		}
	}
}

// TestTooManyRevocationsJoin: two logs that are full make one that is.
func TestTooManyRevocationsJoin(t *testing.T) {
	full := func(first byte) *revocations {
		r := (&revocations{}).clone()
		for i := range maxRevocations {
			r.add([]revokedName{{tagContext, RecordTag{first, byte(i), byte(i >> 8)}}}, milliseconds(i*2)+milliseconds(first))
		}
		return r
	}
	a, b := full(1), full(2)
	ab, ba := a.clone(), b.clone()
	ab.join(b)
	ba.join(a)
	if !ab.equal(ba) || len(ab.counts) != maxRevocations || ab.begun == 0 {
		t.Errorf("%d names from %d on, and %d from %d on", len(ab.counts), ab.begun, len(ba.counts), ba.begun)
	}
	key := RandomFleetKeys().keys[0]
	if log := key.sealRevocations(ab); len(log) > MaxRecordLength {
		t.Errorf("a log of %d bytes", len(log))
	}
}

func TestRevocationLog(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	key, other := RandomFleetKeys().keys[0], RandomFleetKeys().keys[0]
	for range 100 {
		want := randomRevocations(random)
		log := key.sealRevocations(want)
		got, ok, err := key.openRevocations(log)
		if !ok || err != nil || !got.equal(want) || got.newest != want.newest {
			t.Fatalf("%+v, %v, %v\n%+v", got, ok, err, want)
		}
		if _, ok, err := other.openRevocations(log); ok || err != nil {
			t.Errorf("another key opens it: %v, %v", ok, err)
		}
		damaged := bytes.Clone(log)
		damaged[1+random.IntN(len(log)-1)] ^= 1
		if _, ok, err := key.openRevocations(damaged); ok || err != nil {
			t.Errorf("it opens though it is damaged: %v, %v", ok, err)
		}
		log[0]++
		if _, _, err := key.openRevocations(log); err == nil {
			t.Error("a newer revision is no error")
		}
	}
}

func FuzzParseRevocations(f *testing.F) {
	f.Add(make([]byte, 18))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x11\x02tagtagta\x00\x00\x00\x00\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRevocations(b)
		if !ok {
			return
		}
		key := RandomFleetKeys().keys[0]
		again, ok, err := key.openRevocations(key.sealRevocations(r))
		if !ok || err != nil || !again.equal(r) {
			t.Errorf("%+v, %v, %v\n%+v", again, ok, err, r)
		}
	})
}

// BenchmarkJudge is what revocation costs a resumption.
func BenchmarkJudge(b *testing.B) {
	keys := RandomFleetKeys()
	now := milliseconds(1000)
	for _, test := range []struct {
		name  string
		names []revokedName // revoked since the session
	}{
		{"nothing revoked since", nil},
		{"a context revoked since", []revokedName{{tagContext, RecordTag{1}}}},
		{"all kinds revoked since", []revokedName{{tagContext, RecordTag{1}}, {tagLineage, RecordTag{1}}, {tagServerName, RecordTag{1}}, {tagFingerprint, RecordTag{1}}}},
	} {
		b.Run(test.name, func(b *testing.B) {
			log := newRevocationLog(nil, func() *FleetKeys { return keys }, func() milliseconds { return now }, nil)
			r := (&revocations{}).clone()
			r.begin(now)
			s := &Session{profile: &profile{traits: traits{captured: r.last, context: "shop", serverName: "www.example", chain: noChain}}}
			if test.names != nil {
				r.add(test.names, now)
			}
			log.learn(r, false)
			b.ReportAllocs()
			for b.Loop() {
				if log.judge(s) != Resumed {
					b.Fatal("revoked")
				}
			}
		})
	}
}
