package native_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-tls/reprise/native/internal/wire"
)

// growthParts is how often smaller the small input of a test of growth is.
const growthParts = 8

// growsInProportion fails if what is done to a whole input takes more than three times the processor time of growthParts inputs that have
// a part of its length. If each byte were handled once for each other, it would take growthParts times as long.
func growsInProportion(t *testing.T, whole, part func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ofWhole, ofParts := time.Hour, time.Hour
	for range 5 {
		begun := threadTime(t)
		whole()
		between := threadTime(t)
		for range growthParts {
			part()
		}
		ofWhole, ofParts = min(ofWhole, between-begun), min(ofParts, threadTime(t)-between)
	}
	if ofWhole > 3*ofParts {
		t.Errorf("takes %v, and as much in %d parts %v", ofWhole, growthParts, ofParts)
	}
}

// threadTime returns the processor time of the thread so far.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Nano())
}

// TestManyExtensions: to see that there are no two of a kind does not cost more for each the more there are.
func TestManyExtensions(t *testing.T) {
	const most = 16_000
	read := func(body []byte) func() {
		return func() {
			if !new(wire.ClientHello).Unmarshal(body) {
				t.Fatal("not well-formed")
			}
		}
	}
	body := helloOfUnknown(most)
	growsInProportion(t, read(body), read(helloOfUnknown(most/growthParts)))
	if got := answer(t, helloRecords(body)); got[0] != handshakeRecord {
		t.Errorf("answered with %x", got)
	}
	copy(body[len(body)-4:], body[len(body)-8:])
	if new(wire.ClientHello).Unmarshal(body) {
		t.Error("well-formed with two extensions of a kind")
	}
}

// helloOfUnknown returns the body of a ClientHello with extensions that nobody knows.
func helloOfUnknown(extensions int) []byte {
	unknown := make([]byte, 0, 4*extensions)
	for i := range uint16(extensions) {
		unknown = binary.BigEndian.AppendUint16(unknown, 1000+i)
		unknown = append(unknown, 0, 0)
	}
	return bytes.Clone(helloWith(nil, 0, unknown)[9:])
}

// TestMessageInSingleBytes: records of one byte each do not cost more the longer the message is.
func TestMessageInSingleBytes(t *testing.T) {
	answered := func(length int) func() {
		input := inSingleBytes(padded(t, length))
		return func() {
			if got := answer(t, input); got[0] != handshakeRecord {
				t.Fatalf("answered with %x", got)
			}
		}
	}
	growsInProportion(t, answered(maxMessage), answered(maxMessage/growthParts))
}

// inSingleBytes returns the content of records in records of one byte each.
func inSingleBytes(records []byte) (all []byte) {
	for r := records; len(r) > 0; {
		n := 5 + (int(r[3])<<8 | int(r[4]))
		for _, b := range r[5:n] {
			all = append(all, plainRecord(handshakeRecord, b)...)
		}
		r = r[n:]
	}
	return all
}
