package tlsstate_test

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/reprise-tls/reprise/internal/tlsstate"
)

func TestConvertibleWithThisGo(t *testing.T) {
	if !tlsstate.Convertible() {
		t.Fatal("crypto/tls encodes session states in another way than package tlsstate knows")
	}
}

func TestParseAndMarshalAreInverse(t *testing.T) {
	for i, s := range tlsstate.Specimens() {
		data, err := s.Marshal()
		if err != nil {
			t.Fatalf("specimen %d: %v", i, err)
		}
		parsed, err := tlsstate.Parse(data)
		if err != nil {
			t.Fatalf("specimen %d: %v", i, err)
		}
		back, err := parsed.Marshal()
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("specimen %d came back as\n%x\nwant\n%x (%v)", i, back, data, err)
		}
		if parsed.Client != s.Client || parsed.ALPN != s.ALPN || parsed.AgeAdd != s.AgeAdd || parsed.Curve != s.Curve ||
			parsed.CreatedAt != s.CreatedAt || parsed.UseBy != s.UseBy ||
			len(parsed.VerifiedChains) != len(s.VerifiedChains) || !bytes.Equal(parsed.LeafExtensions, s.LeafExtensions) {
			t.Errorf("specimen %d parsed to %+v", i, parsed)
		}
	}
}

func TestParseRefusesWhatItCannotHold(t *testing.T) {
	for i, s := range tlsstate.Specimens() {
		data, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tlsstate.Parse(append(bytes.Clone(data), 0)); err == nil {
			t.Errorf("specimen %d: a trailing byte was ignored", i)
		}
		for n := range data {
			if _, err := tlsstate.Parse(data[:n]); err == nil {
				t.Errorf("specimen %d: cut to %d of %d bytes, it was accepted", i, n, len(data))
			}
		}
	}
}

func TestMarshalRefusesWhatIsTooLong(t *testing.T) {
	for _, s := range []*tlsstate.State{
		{Secret: make([]byte, 1<<8)},
		{Secret: []byte{1}, LeafExtensions: make([]byte, 1<<16), Certificates: [][]byte{{1}}},
		{Secret: []byte{1}, Extra: [][]byte{make([]byte, 1<<24)}},
		{Secret: []byte{1}, Certificates: [][]byte{make([]byte, 1<<23), make([]byte, 1<<23)}},
	} {
		if data, err := s.Marshal(); err == nil {
			t.Errorf("marshalled to %d bytes", len(data))
		}
	}
}

// TestSelfCheckNoticesALoss: crypto/tls drops extensions that it does not know, as another release of it might drop or
// add a field.
func TestSelfCheckNoticesALoss(t *testing.T) {
	s := tlsstate.Specimens()[1]
	if !tlsstate.Survives(s) {
		t.Fatal("a complete state does not survive")
	}
	s.LeafExtensions = []byte{0xff, 0x01, 0, 1, 'x'}
	if tlsstate.Survives(s) {
		t.Error("the self-check has not noticed that an extension was lost")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range tlsstate.Specimens() {
		data, err := s.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := tlsstate.Parse(data); err == nil {
			back, err := s.Marshal()
			if err != nil || !bytes.Equal(back, data) {
				t.Fatalf("parsed, it marshals to %x (%v)", back, err)
			}
		}
		state, err := tls.ParseSessionState(data)
		if err != nil {
			return
		}
		canonical, err := state.Bytes()
		if err != nil {
			return
		}
		s, err := tlsstate.Parse(canonical)
		if err != nil {
			t.Fatalf("crypto/tls wrote a state that is not understood: %x", canonical)
		}
		if back, err := s.Marshal(); err != nil || !bytes.Equal(back, canonical) {
			t.Fatalf("%x came back as %x (%v)", canonical, back, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := tlsstate.Specimens()[1].Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tlsstate.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	s := tlsstate.Specimens()[1]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
