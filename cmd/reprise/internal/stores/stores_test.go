package stores_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
	"github.com/reprise-tls/reprise/store/memory"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]stores.URL{
		"memory:":                      {Kind: stores.Memory},
		"file:sessions":                {Kind: stores.File, Dir: "sessions"},
		"file:/var/lib/x":              {Kind: stores.File, Dir: "/var/lib/x"},
		"file:///var/lib/x":            {Kind: stores.File, Dir: "/var/lib/x"},
		"redis://127.0.0.1:6379":       {Kind: stores.Redis},
		"redis://localhost":            {Kind: stores.Redis},
		"rediss://u:p@redis.example/3": {Kind: stores.Redis},
		"redis://:pw@[::1]:6379/12":    {Kind: stores.Redis},

		"redis+cluster://127.0.0.1:7001,localhost:7002":                {Kind: stores.Redis},
		"rediss+cluster://u:pw@a.example,b.example":                    {Kind: stores.Redis},
		"redis+sentinel://:pw@127.0.0.1/main/2":                        {Kind: stores.Redis},
		"rediss+sentinel://u:pw@a.example:1/main?sentinel-password=pw": {Kind: stores.Redis},
	} {
		u, err := stores.Parse(raw, false)
		if err != nil || u.Kind != want.Kind || u.Dir != want.Dir {
			t.Errorf("%s: %+v, %v", raw, u, err)
		}
		if s := u.String(); strings.Contains(s, "pw") || strings.Contains(s, "u:p") {
			t.Errorf("%s prints as %s", raw, s)
		}
	}
	for _, raw := range []string{
		"", "sessions", "/var/lib", "memory:x", "file:", "file://host/dir", "mysql://x", "redis://", "redis:///0", "redis://%zz",
		"redis://localhost/x", "redis://localhost/0?timeout=1s", "redis://localhost/-1",
		"redis+cluster://localhost/1", "redis+sentinel://localhost", "redis+x://localhost", "redis://localhost,localhost",
		"rediss+sentinel://u:secret@a.example/main", "rediss+cluster://u:secret@a.example,localhost/x",
		"redis://redis.example", "redis://u:secret@redis.example", "rediss://redis.example", "rediss://user@redis.example",
	} {
		_, err := stores.Parse(raw, false)
		if hinted := new(hint.Error); !errors.As(err, &hinted) {
			t.Errorf("%q: error %v, want one with a hint", raw, err)
		} else if strings.Contains(err.Error()+hinted.Hint, "secret") {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
	if _, err := stores.Parse("redis://redis.example", true); err != nil {
		t.Errorf("with --unsafe-store: %v", err)
	}
}

func keys(t *testing.T, secrets ...byte) *reprise.FleetKeys {
	t.Helper()
	var all [][]byte
	for _, b := range secrets {
		all = append(all, []byte(strings.Repeat(string(rune('a'+b)), reprise.FleetKeyLength)))
	}
	k, err := reprise.NewFleetKeys(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeyMark: keys fit a store if they have one in common with those that marked it.
func TestKeyMark(t *testing.T) {
	ctx, store := t.Context(), &memory.Store{}
	if err := stores.CheckKeys(ctx, store, keys(t, 1)); err != nil {
		t.Errorf("an empty store: %v", err)
	}
	if err := stores.MarkKeys(ctx, store, keys(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	for _, good := range []*reprise.FleetKeys{keys(t, 1, 2), keys(t, 2), keys(t, 3, 1)} {
		if err := stores.CheckKeys(ctx, store, good); err != nil {
			t.Errorf("keys that fit: %v", err)
		}
	}
	err := stores.CheckKeys(ctx, store, keys(t, 3, 4))
	if !errors.Is(err, stores.ErrOtherKeys) {
		t.Errorf("other keys: %v", err)
	}
	if hinted := new(hint.Error); !errors.As(err, &hinted) {
		t.Errorf("no hint: %v", err)
	}

	// What can't be read says nothing about the keys, and neither does a store that fails.
	if err := store.Put(ctx, stores.KeyMark, []byte("reprise fleet keys 2\nwhatever"), 1e9); err != nil {
		t.Fatal(err)
	}
	if err := stores.CheckKeys(ctx, store, keys(t, 3)); err != nil {
		t.Errorf("a mark of another revision: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := stores.CheckKeys(ended, store, keys(t, 3)); err == nil || errors.Is(err, stores.ErrOtherKeys) {
		t.Errorf("a store that fails: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir() + "/sessions"
	u, err := stores.Parse("file:"+dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := stores.Exists(u); err == nil {
		t.Error("a folder that is not there exists")
	}
	s, err := stores.Open(u, stores.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stores.Exists(u); err != nil {
		t.Error(err)
	}
	_, err = stores.Open(u, stores.Options{})
	if hinted := new(hint.Error); !errors.As(err, &hinted) {
		t.Errorf("a store that is open: error %v, want one with a hint", err)
	}
	if err := stores.Close(s); err != nil {
		t.Error(err)
	}
	if err := stores.Close(&memory.Store{}); err != nil {
		t.Error(err)
	}
}

func TestOpenRedisThatDoesNotAnswer(t *testing.T) {
	u, err := stores.Parse("redis://:secret@127.0.0.1:1", false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stores.Open(u, stores.Options{})
	if hinted := new(hint.Error); !errors.As(err, &hinted) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one with a hint and without the password", err)
	}
	var log strings.Builder
	s, err := stores.Open(u, stores.Options{Lazy: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatalf("lazy: %v", err)
	}
	if _, _, err := s.Get(t.Context(), stores.KeyMark); err == nil {
		t.Error("a call of a server that is not there succeeded")
	}
	if err := stores.Close(s); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "does not answer") || strings.Contains(log.String(), "secret") {
		t.Errorf("log: %s", log.String())
	}
	if _, err := stores.Open(u, stores.Options{Lazy: true, CA: "missing.pem"}); err == nil {
		t.Error("a CA file that is not there was taken")
	}
}
