package reprise_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// TestOpenRecord: a tool with the fleet key and the session ID finds the record in the store and opens it; with less it does not.
func TestOpenRecord(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, reprise.FleetKeyLength)
	keys, err := reprise.NewFleetKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	store := &memory.Store{}
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cache.Accept(t.Context(), anyInfo)
	if err != nil {
		t.Fatal(err)
	}
	made, err := conn.NewSession(anyParams(), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
	if err := binding.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}

	rotated, err := reprise.NewFleetKeys(bytes.Repeat([]byte{2}, reprise.FleetKeyLength), secret)
	if err != nil {
		t.Fatal(err)
	}
	if !rotated.Made(made.ID()) {
		t.Error("a previous key does not know its ID")
	}
	found := rotated.StoreKeys(made.ID())
	if len(found) != 1 {
		t.Fatalf("%d store keys for an ID that a key has made", len(found))
	}
	record, ok, err := store.Get(t.Context(), found[0])
	if err != nil || !ok {
		t.Fatalf("no record in the store: %v", err)
	}
	opened, err := rotated.OpenRecord(made.ID(), record)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(opened.Secret(), made.Secret()) || opened.ID() != made.ID() {
		t.Error("another session came out")
	}

	foreign, err := reprise.MakeSessionID([]byte("an ID of an application's own"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rotated.StoreKeys(foreign)); n != 2 || rotated.Made(foreign) {
		t.Errorf("%d store keys for an ID that no key has made, want one for each", n)
	}
	if _, err := rotated.OpenRecord(foreign, record); err == nil {
		t.Error("opened under another ID")
	}
	if _, err := reprise.RandomFleetKeys().OpenRecord(made.ID(), record); err == nil {
		t.Error("opened by another fleet key")
	}
	if _, err := new(reprise.FleetKeys).OpenRecord(made.ID(), record); err == nil {
		t.Error("opened without a key")
	}
	for cut := range record {
		if _, err := rotated.OpenRecord(made.ID(), record[:cut]); err == nil {
			t.Fatalf("opened when cut to %d bytes", cut)
		}
	}
	if time.Until(opened.Expiry()) <= 0 {
		t.Error("expired")
	}
}
