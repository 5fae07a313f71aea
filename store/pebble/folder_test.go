package pebblestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

func TestFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, want 0700", info.Mode())
	}
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range []string{dir, ".", link} {
		if _, err := pebblestore.Open(name, pebblestore.Options{}); !errors.Is(err, pebblestore.ErrLocked) {
			t.Errorf("Open %s a second time: %v, want ErrLocked", name, err)
		}
	}
	if out := runChild(t, "open", dir); !strings.Contains(out, "open already") || !strings.Contains(out, "hint: stop the other process") {
		t.Errorf("Open in another process says: %s", out)
	}
	closeStore(t, s)
	open(t, dir)
}

func TestFoldersThatAreNoStore(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"other files", "thesis.txt", "text", "holds other files, such as thesis.txt (hint: name an empty folder"},
		{"later layout", "REPRISE-STORE", "reprise session store 2\n", "another layout"},
		{"lock of a crash", "LOCK", "", ""},
		{"mark of a crash", "REPRISE-STORE", "reprise sess", ""},
		{"empty mark of a crash", "REPRISE-STORE", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, test.file), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if test.want != "" {
				wantOpenError(t, dir, test.want)
				return
			}
			closeStore(t, open(t, dir))
			open(t, dir)
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, file, "hint: name a folder, not a file")
}

func wantOpenError(t *testing.T, dir, want string) {
	t.Helper()
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err == nil {
		s.Close()
		t.Fatalf("Open returned no error, want %q", want)
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v, want %q on one line", err, want)
	}
}
