package reprise_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

const (
	hexKeyA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexKeyB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hexKeyC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

var keyTime = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// states returns the names of keys with what they are at a time.
func states(k *reprise.FleetKeys, now time.Time) map[string]string {
	m := map[string]string{}
	for _, info := range k.Info(now) {
		m[info.State] += info.Name
	}
	return m
}

// nameOf returns the name of a key given in hexadecimal.
func nameOf(t *testing.T, hexKey string) string {
	t.Helper()
	k, err := reprise.ParseFleetKeys([]byte("reprise-fleet-key-1 " + hexKey))
	if err != nil {
		t.Fatal(err)
	}
	return k.Info(keyTime)[0].Name
}

func TestFleetKeyIsCurrentFromItsTime(t *testing.T) {
	k, err := reprise.ParseFleetKeys([]byte(`
# The order of lines does not matter.
reprise-fleet-key-1 ` + hexKeyB + ` 2026-11-01T12:00:00Z # what rotation would write
reprise-fleet-key-1 ` + strings.ToUpper(hexKeyC) + `	2026-11-02T13:00:00+01:00

reprise-fleet-key-1 ` + hexKeyA + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := nameOf(t, hexKeyA), nameOf(t, hexKeyB), nameOf(t, hexKeyC)
	for _, test := range []struct {
		at   time.Time
		want map[string]string
	}{
		{keyTime.Add(-time.Second), map[string]string{"current": a, "next": c + b}},
		{keyTime, map[string]string{"previous": a, "current": b, "next": c}},
		{keyTime.Add(24 * time.Hour), map[string]string{"previous": b + a, "current": c}},
	} {
		if got := states(k, test.at); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("at %v: %v, want %v", test.at, got, test.want)
		}
	}
	// A session is made under the key that is current, and known under every one.
	now := keyTime.Add(-time.Second)
	cache, err := reprise.New(reprise.Options{Keys: k, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	early := handleOfNew(t, cache)
	now = keyTime
	if late := handleOfNew(t, cache); late == early {
		t.Error("two sessions have one handle")
	}
}

func handleOfNew(t *testing.T, c *reprise.Cache) string {
	t.Helper()
	conn, err := c.Accept(t.Context(), anyInfo)
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.NewSession(anyParams(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Handle(s.ID())
}

func TestFirstFleetKeyIsCurrentBeforeItsTime(t *testing.T) {
	k, err := reprise.ParseFleetKeys([]byte("reprise-fleet-key-1 " + hexKeyA + " 2026-11-02T12:00:00Z\n" +
		"reprise-fleet-key-1 " + hexKeyB + " 2026-11-03T12:00:00Z\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := states(k, keyTime)["current"]; got != nameOf(t, hexKeyA) {
		t.Errorf("current key %s, want the first of the coming ones", got)
	}
}

func TestParseFleetKeysRefuses(t *testing.T) {
	key := "reprise-fleet-key-1 " + hexKeyA
	for name, text := range map[string]string{
		"nothing":             "",
		"comments only":       "# reprise-fleet-key-1 " + hexKeyA + "\n",
		"another file":        "-----BEGIN PRIVATE KEY-----\n" + hexKeyA + "\n-----END PRIVATE KEY-----\n",
		"a newer revision":    "reprise-fleet-key-2 " + hexKeyA,
		"no key":              "reprise-fleet-key-1",
		"a short key":         key[:len(key)-2],
		"half a byte":         key[:len(key)-1],
		"a long key":          key + "aa",
		"no hex digits":       key[:len(key)-1] + "g",
		"a wrong time":        key + " tomorrow",
		"time and key mixed":  "reprise-fleet-key-1 2026-11-02T12:00:00Z " + hexKeyA,
		"too much in a line":  key + " 2026-11-02T12:00:00Z " + hexKeyB,
		"the same key twice":  key + "\n" + key + " 2026-11-02T12:00:00Z",
		"two from one moment": key + " 2026-11-02T13:00:00+01:00\nreprise-fleet-key-1 " + hexKeyB + " 2026-11-02T12:00:00Z",
		"two from ever":       key + "\nreprise-fleet-key-1 " + hexKeyB,
		"zeros":               key + "\n" + strings.Repeat("\x00", 100),
		"a long file":         key + strings.Repeat("\n", 1<<17),
		"many keys":           manyKeys(17),
	} {
		k, err := reprise.ParseFleetKeys([]byte(text))
		if err == nil {
			t.Errorf("%s: %v", name, k)
			continue
		}
		if hasKey(err.Error()) {
			t.Errorf("%s: the error shows a key: %v", name, err)
		}
	}
	if _, err := reprise.ParseFleetKeys([]byte(manyKeys(16))); err != nil {
		t.Errorf("16 keys: %v", err)
	}
}

func manyKeys(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "reprise-fleet-key-1 %064x %s\n", i, keyTime.Add(time.Duration(i)*time.Hour).Format(time.RFC3339))
	}
	return text.String()
}

// hasKey reports whether text shows a part of one of the keys above.
func hasKey(text string) bool {
	return strings.Contains(text, hexKeyA[:6]) || strings.Contains(text, hexKeyB[:6]) || strings.Contains(text, hexKeyC[:6])
}

func TestFleetKeysNeverPrint(t *testing.T) {
	secret := bytes.Repeat([]byte{0xaa}, reprise.FleetKeyLength)
	k, err := reprise.NewFleetKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", *k)
		fmt.Fprintf(&out, verb+"\n", []any{k, reprise.Options{Keys: k}})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("keys", "k", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("keys", "k", k)
	if err := json.NewEncoder(&out).Encode([]any{k}); err != nil {
		t.Fatal(err)
	}
	for _, form := range append(forms(secret[:4]), k.Info(keyTime)[0].Name) {
		if strings.Contains(out.String(), form) {
			t.Errorf("keys print as %q: %s", form, out.String())
		}
	}
}

// keyFile returns the path of a new fleet key file.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet.key")
	if err := reprise.CreateFleetKeyFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string) *reprise.FleetKeys {
	t.Helper()
	k, err := reprise.LoadFleetKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCreateFleetKeyFile(t *testing.T) {
	path := keyFile(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("file of mode %v, %v", info.Mode(), err)
	}
	name := states(load(t, path), keyTime)["current"]
	if name == "" {
		t.Error("no current key")
	}
	if name == states(load(t, keyFile(t)), keyTime)["current"] {
		t.Error("two files have the same key")
	}
	if err := reprise.CreateFleetKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created again: %v", err)
	}
	if states(load(t, path), keyTime)["current"] != name {
		t.Error("the second creation has changed the file")
	}
	if err := reprise.CreateFleetKeyFile(filepath.Join(path, "sub")); err == nil {
		t.Error("a file below a file is created")
	}
}

func TestLoadFleetKeysRefuses(t *testing.T) {
	folder := t.TempDir()
	write := func(text string, mode fs.FileMode) string {
		path := filepath.Join(folder, fmt.Sprintf("%o.key", mode))
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := "reprise-fleet-key-1 " + hexKeyA + "\n"
	if _, err := reprise.LoadFleetKeys(write(good, 0o400)); err != nil {
		t.Errorf("file of mode 0400: %v", err)
	}
	for path, want := range map[string]string{
		write(good, 0o640):                  "chmod 600",
		write(good, 0o604):                  "chmod 600",
		write(good, 0o620):                  "chmod 600",
		write("", 0o600):                    "without a key",
		write(good+hexKeyB, 0o700):          "line 2",
		filepath.Join(folder, "none.key"):   "no such file",
		folder:                              "not a regular file",
		"/dev/null":                         "not a regular file",
		writeLong(t, folder, "long", 1<<17): "bytes",
	} {
		_, err := reprise.LoadFleetKeys(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || hasKey(err.Error()) {
			t.Errorf("%s: error %v, want one with %q and the path", path, err, want)
		}
	}
	if _, err := reprise.LoadFleetKeys(filepath.Join(folder, "none.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file that does not exist: %v", err)
	}
}

func writeLong(t *testing.T, folder, name string, size int) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRotateFleetKeyFile(t *testing.T) {
	path := keyFile(t)
	first := states(load(t, path), keyTime)["current"]
	addComment(t, path, "# mine\n")

	// In a fleet: known everywhere first, current later.
	if err := reprise.RotateFleetKeyFile(path, keyTime, time.Hour); err != nil {
		t.Fatal(err)
	}
	before, after := states(load(t, path), keyTime), states(load(t, path), keyTime.Add(time.Hour))
	second := before["next"]
	if before["current"] != first || second == "" || after["current"] != second || after["previous"] != first {
		t.Errorf("first %s, before %v, after %v", first, before, after)
	}
	if err := reprise.RotateFleetKeyFile(path, keyTime.Add(30*time.Minute), 0); err == nil || !strings.Contains(err.Error(), "2026-11-01T13:00:00Z") {
		t.Errorf("rotated before the last rotation took effect: %v", err)
	}

	// At once, a day later. The first key's sessions still live.
	day := keyTime.Add(24 * time.Hour)
	if err := reprise.RotateFleetKeyFile(path, day, 0); err != nil {
		t.Fatal(err)
	}
	got := states(load(t, path), day)
	third := got["current"]
	if third == second || got["previous"] != second+first {
		t.Errorf("after the second rotation: %v", got)
	}

	// The first key was replaced at 13:00: at 14:00 a week later no session of it can be left. The second was used for
	// almost a day longer.
	for _, over := range []bool{false, true} {
		at := keyTime.Add(7*24*time.Hour + 2*time.Hour)
		if over {
			at = at.Add(time.Second)
		}
		rotated := filepath.Join(t.TempDir(), "copy.key")
		copyFile(t, path, rotated)
		if err := reprise.RotateFleetKeyFile(rotated, at, 0); err != nil {
			t.Fatal(err)
		}
		want := third + second + first
		if over {
			want = third + second
		}
		if got := states(load(t, rotated), at)["previous"]; got != want {
			t.Errorf("previous keys %s, want %s", got, want)
		}
		if text, err := os.ReadFile(rotated); err != nil || !strings.Contains(string(text), "# mine\n") {
			t.Errorf("the comment is gone: %v", err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("files beside the key file: %v, %v", entries, err)
	}
}

func addComment(t *testing.T, path, comment string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, comment...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRotateFleetKeyFileKeepsWhatItFinds(t *testing.T) {
	path := keyFile(t)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, 12345, 23456); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	owner, _ := os.Stat(path)
	if err := reprise.RotateFleetKeyFile(link, keyTime, 0); err != nil {
		t.Fatal(err)
	}
	rotated, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if rotated.Mode() != 0o400 {
		t.Errorf("mode %v", rotated.Mode())
	}
	if uid, gid := ownerOf(rotated); fmt.Sprint(uid, gid) != fmt.Sprint(ownerOf(owner)) {
		t.Errorf("owner %d:%d", uid, gid)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}

// TestRotateFleetKeyFileFails: whatever goes wrong, the file is as it was.
func TestRotateFleetKeyFileFails(t *testing.T) {
	path := keyFile(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: rotated", what)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the file has changed, %v", what, err)
		}
	}
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("another rotation", reprise.RotateFleetKeyFile(path, keyTime, 0))
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	check("a file that others can read", reprise.RotateFleetKeyFile(path, keyTime, 0))
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a new file is left behind")
	}
	if err := reprise.RotateFleetKeyFile(path+"x", keyTime, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
}

func TestRotateTwiceInASecond(t *testing.T) {
	path := keyFile(t)
	if err := reprise.RotateFleetKeyFile(path, keyTime, 0); err != nil {
		t.Fatal(err)
	}
	if err := reprise.RotateFleetKeyFile(path, keyTime, 0); err == nil {
		t.Error("two keys are current from one moment")
	}
	load(t, path)
}

func FuzzParseFleetKeys(f *testing.F) {
	f.Add([]byte("reprise-fleet-key-1 " + hexKeyA + " 2026-11-01T12:00:00Z # comment\n\nreprise-fleet-key-1 " + hexKeyB))
	f.Add([]byte(manyKeys(3)))
	f.Add([]byte("#"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := reprise.ParseFleetKeys(text)
		if err != nil {
			if hasKey(err.Error()) {
				t.Fatalf("the error shows a key: %v", err)
			}
			return
		}
		info := k.Info(keyTime)
		current := 0
		for i, key := range info {
			if i > 0 && !key.CurrentFrom.Before(info[i-1].CurrentFrom) {
				t.Fatalf("keys in disorder: %v", info)
			}
			if key.State == "current" {
				current++
			}
		}
		if current != 1 {
			t.Fatalf("%d current keys", current)
		}
	})
}
