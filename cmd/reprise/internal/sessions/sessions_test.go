package sessions_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
	"github.com/reprise-tls/reprise/store/memory"
)

// stored returns a store with records that can't be read, under keys that begin with the bytes given.
func stored(t *testing.T, first ...byte) sessions.Stored {
	t.Helper()
	s := &memory.Store{}
	for _, b := range first {
		key := reprise.StoreKey(bytes.Repeat([]byte{b}, len(reprise.StoreKey{})))
		if err := s.Put(t.Context(), key, []byte("not a record"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), stores.KeyMark, []byte("names"), time.Hour); err != nil {
		t.Fatal(err)
	}
	return sessions.Stored{Store: s, Skip: stores.KeyMark}
}

func count(t *testing.T, s sessions.Source, prefix string) (n int) {
	t.Helper()
	for entry, err := range s.All(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if len(entry.Session) != sessions.Digits {
			t.Errorf("name %q", entry.Session)
		}
		n++
	}
	return n
}

func TestFind(t *testing.T) {
	s := stored(t, 0x12, 0x13, 0x2a)
	if n := count(t, s, ""); n != 3 {
		t.Errorf("%d sessions, want 3: the key mark is none", n)
	}
	whole := hex.EncodeToString(bytes.Repeat([]byte{0x12}, 32))
	for _, digits := range []string{"12", "121", "121212121212", whole} {
		if entry, err := sessions.Find(t.Context(), s, digits); err != nil || entry.StoreKey != whole {
			t.Errorf("%s: %v, %v", digits, entry, err)
		}
	}
	var ambiguous *sessions.AmbiguousError
	if _, err := sessions.Find(t.Context(), s, "1"); !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 2 || ambiguous.More {
		t.Errorf("1: %v", err)
	}
	if _, err := sessions.Find(t.Context(), s, "3"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("3: %v", err)
	}
	for _, digits := range []string{"", "x", "2A", whole + "1"} {
		if _, err := sessions.Find(t.Context(), s, digits); !errors.Is(err, sessions.ErrDigits) {
			t.Errorf("%q: %v", digits, err)
		}
	}
}

func TestAmbiguousListIsBounded(t *testing.T) {
	var first []byte
	for b := byte(0x10); b < 0x1f; b++ {
		first = append(first, b)
	}
	var ambiguous *sessions.AmbiguousError
	_, err := sessions.Find(t.Context(), stored(t, first...), "1")
	if !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 10 || !ambiguous.More {
		t.Errorf("%v", err)
	}
}

func TestStoredRemoveAndFlush(t *testing.T) {
	s := stored(t, 0x12, 0x13, 0x2a)
	if _, err := s.Remove(t.Context(), "2a"); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Flush(t.Context(), true); err != nil || f.Stored != 0 || count(t, s, "") != 2 {
		t.Errorf("Flush(expired) = %v, %v", f, err)
	}
	if f, err := s.Flush(t.Context(), false); err != nil || f.Stored != 2 || count(t, s, "") != 0 {
		t.Errorf("Flush = %v, %v", f, err)
	}
}

// TestFlushWithoutClear: a store that can list and not clear is emptied one by one.
func TestFlushWithoutClear(t *testing.T) {
	full := stored(t, 0x12, 0x13)
	s := sessions.Stored{Store: onlyIterator{full.Store, full.Store.(reprise.Iterator)}, Skip: stores.KeyMark}
	if f, err := s.Flush(t.Context(), false); err != nil || f.Stored != 2 || count(t, s, "") != 0 {
		t.Errorf("Flush = %v, %v", f, err)
	}
	if _, ok, _ := full.Store.Get(context.Background(), stores.KeyMark); ok {
		t.Error("the key mark is still there")
	}
}

type onlyIterator struct {
	reprise.Store
	reprise.Iterator
}

// TestFarTimes: a record whose header tells of times that JSON has no form for, which nobody has authenticated, ends no list.
func TestFarTimes(t *testing.T) {
	store := &memory.Store{}
	newLiveWith(t, 1, store)
	var far []byte
	for _, record := range records(t, store) {
		far = bytes.Clone(record)
	}
	const created, expiry = 1, 9
	far[created+1], far[expiry+1] = 0x1f, 0x1f
	if header, err := reprise.ParseRecordHeader(far); err != nil || header.Created.Year() < 10_000 || header.Expiry.Year() < 10_000 {
		t.Fatalf("a header of %v to %v, %v", header.Created, header.Expiry, err)
	}
	if err := store.Put(t.Context(), reprise.StoreKey{1}, far, time.Hour); err != nil {
		t.Fatal(err)
	}
	n := 0
	for entry, err := range (sessions.Stored{Store: store}).All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(entry); err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
}

func records(t *testing.T, store *memory.Store) (all [][]byte) {
	t.Helper()
	err := store.Each(t.Context(), func(_ reprise.StoreKey, record []byte, _ time.Time) bool {
		all = append(all, bytes.Clone(record))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
