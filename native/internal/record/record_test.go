package record_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/schedule"
)

var suites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}

// pair returns a writer and a reader with the same keys.
func pair(id uint16) (w *record.Writer, r *record.Reader, overhead int) {
	s := schedule.SuiteByID(id)
	keys := schedule.Keys{Key: make([]byte, s.KeyLength), FixedIV: make([]byte, s.FixedIVLength)}
	rand.Read(keys.Key)
	rand.Read(keys.FixedIV)
	w, r = new(record.Writer), new(record.Reader)
	w.Protect(s, keys)
	r.Protect(s, keys)
	return w, r, w.Overhead()
}

func TestRoundTripByteByByte(t *testing.T) {
	for _, id := range suites {
		w, r, overhead := pair(id)
		content := make([]byte, 3*record.MaxPlaintext+1)
		rand.Read(content)
		wire, err := w.Append(nil, record.ApplicationData, content)
		if err != nil {
			t.Fatal(err)
		}
		if want := len(content) + 4*overhead; len(wire) != want {
			t.Errorf("%d bytes, want %d", len(wire), want)
		}
		var got []byte
		for i := range wire {
			r.Feed(wire[i : i+1])
			kind, part, err := r.Next()
			if record.IsIncomplete(err) {
				continue
			}
			if err != nil || kind != record.ApplicationData {
				t.Fatalf("record of type %d: %v", kind, err)
			}
			got = append(got, part...)
		}
		if !bytes.Equal(got, content) {
			t.Error("content differs")
		}
	}
}

func TestEmptyContentIsOneRecord(t *testing.T) {
	w, r, overhead := pair(suites[0])
	wire, _ := w.Append(nil, record.ApplicationData, nil)
	if len(wire) != overhead {
		t.Errorf("%d bytes", len(wire))
	}
	r.Feed(wire)
	if _, content, err := r.Next(); err != nil || len(content) != 0 {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

func TestAlteredRecordsDoNotOpen(t *testing.T) {
	for _, id := range suites {
		for position := range 60 {
			w, r, _ := pair(id)
			wire, _ := w.Append(nil, record.ApplicationData, make([]byte, 40))
			if position >= len(wire) || position == 3 || position == 4 { // the length
				continue
			}
			wire[position] ^= 1
			r.Feed(wire)
			if _, _, err := r.Next(); err == nil || record.IsIncomplete(err) {
				t.Errorf("%s, byte %d: %v", tls.CipherSuiteName(id), position, err)
			}
		}
	}
}

func TestReorderedAndRepeatedRecordsDoNotOpen(t *testing.T) {
	for _, id := range suites {
		w, r, _ := pair(id)
		first, _ := w.Append(nil, record.ApplicationData, []byte("first"))
		second, _ := w.Append(nil, record.ApplicationData, []byte("second"))
		r.Feed(second)
		if _, _, err := r.Next(); alert.Of(err) != alert.BadRecordMAC {
			t.Errorf("out of order: %v", err)
		}
		w, r, _ = pair(id)
		first, _ = w.Append(first[:0], record.ApplicationData, []byte("first"))
		r.Feed(append(bytes.Clone(first), first...))
		if _, _, err := r.Next(); err != nil {
			t.Error(err)
		}
		if _, _, err := r.Next(); alert.Of(err) != alert.BadRecordMAC {
			t.Errorf("repeated: %v", err)
		}
	}
}

func TestBadHeaders(t *testing.T) {
	header := func(kind byte, version uint16, length int) []byte {
		b := binary.BigEndian.AppendUint16([]byte{kind}, version)
		return append(binary.BigEndian.AppendUint16(b, uint16(length)), make([]byte, length)...)
	}
	for _, test := range []struct {
		name      string
		wire      []byte
		protected bool
		want      alert.Alert
	}{
		{"type", header(24, 0x0303, 1), false, alert.UnexpectedMessage},
		{"SSLv2", header(22, 0x0203, 1), false, alert.ProtocolVersion},
		{"version while protected", header(23, 0x0301, 100), true, alert.ProtocolVersion},
		{"too long", header(22, 0x0301, record.MaxPlaintext+1), false, alert.RecordOverflow},
		{"too long while protected", header(23, 0x0303, record.MaxPlaintext+2049), true, alert.RecordOverflow},
		{"content too long while protected", header(23, 0x0303, record.MaxPlaintext+25), true, alert.RecordOverflow},
		{"too short while protected", header(23, 0x0303, 23), true, alert.BadRecordMAC},
		{"empty handshake", header(22, 0x0303, 0), false, alert.UnexpectedMessage},
		{"empty alert", header(21, 0x0303, 0), false, alert.UnexpectedMessage},
	} {
		r := new(record.Reader)
		if test.protected {
			_, r, _ = pair(suites[0])
		}
		r.Feed(test.wire)
		if _, _, err := r.Next(); err == nil || alert.Of(err) != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// FuzzReader: however the bytes come, the records are the same, none is too long, and there are no more than bytes.
func FuzzReader(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 1, 0}, false, uint8(0))
	f.Add([]byte{23, 3, 3, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, true, uint8(3))
	genuine, _, _ := fixedPair()
	wire, _ := genuine.Append(nil, record.ApplicationData, []byte("some data"))
	wire, _ = genuine.Append(wire, record.Alert, []byte{1, 0})
	f.Add(wire, true, uint8(1))
	f.Fuzz(func(t *testing.T, wire []byte, protected bool, step uint8) {
		whole, cut := new(record.Reader), new(record.Reader)
		if protected {
			_, whole, cut = fixedPair()
		}
		whole.Feed(wire)
		want := readAll(t, whole, len(wire))
		var got []string
		for part := range slices.Chunk(wire, int(step)+1) {
			n := copy(cut.Free(len(part)), part)
			cut.Commit(n)
			got = append(got, readAll(t, cut, len(wire))...)
			if len(got) > 0 && strings.HasPrefix(got[len(got)-1], "error") {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in parts of %d: %q, want %q", step, got, want)
		}
	})
}

// fixedPair returns a writer and two readers whose keys are always the same.
func fixedPair() (w *record.Writer, a, b *record.Reader) {
	s := schedule.SuiteByID(suites[0])
	keys := func() schedule.Keys {
		return schedule.Keys{Key: make([]byte, s.KeyLength), FixedIV: make([]byte, s.FixedIVLength)}
	}
	w, a, b = new(record.Writer), new(record.Reader), new(record.Reader)
	w.Protect(s, keys())
	a.Protect(s, keys())
	b.Protect(s, keys())
	return w, a, b
}

// readAll returns the records that are there, and the error that ends them.
func readAll(t *testing.T, r *record.Reader, most int) (all []string) {
	t.Helper()
	for range most + 1 {
		kind, content, err := r.Next()
		switch {
		case record.IsIncomplete(err):
			return all
		case err != nil:
			return append(all, fmt.Sprint("error ", alert.Of(err)))
		case len(content) > record.MaxPlaintext:
			t.Fatalf("content of %d bytes", len(content))
		}
		all = append(all, fmt.Sprint(kind, content))
	}
	t.Fatal("more records than bytes")
	return nil
}
