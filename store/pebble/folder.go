package pebblestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// markFile says that a folder is a store, and of which layout.
	markFile = "REPRISE-STORE"
	mark     = "reprise session store 1\n"

	// probeFile is written to learn whether the disk takes writes, and removed again.
	probeFile = "PROBE"
	probeSize = 2 * memTableSize
)

var (
	errForeign = errors.New("it is not a store and holds other files")
	errLayout  = errors.New("it holds a store of another layout")
)

// prepare makes the folder if there is none, locks it, and sees that it is for sessions. It returns the folder's name
// from the root: the lock knows it by that.
func prepare(dir string, fs vfs.FS) (string, *pebble.Lock, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return dir, nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dir, nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return dir, nil, err
	}
	if err := checkContent(dir); err != nil {
		return dir, nil, err
	}
	lock, err := lockFolder(dir, fs)
	if err != nil {
		return dir, nil, err
	}
	if err := own(dir); err != nil {
		return dir, nil, errors.Join(err, lock.Close())
	}
	return dir, lock, nil
}

// checkContent refuses folders that are not empty and no store, and stores of a layout that is not known here.
func checkContent(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, markFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if string(text) == mark {
		return nil
	}
	if !strings.HasPrefix(mark, string(text)) {
		return fmt.Errorf("%w: %s says %.40q, want %q", errLayout, markFile, text, mark)
	}
	// No mark, or part of one: the folder is new, or a crash came before the mark was written.
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	foreign := slices.IndexFunc(files, func(f os.DirEntry) bool {
		return !slices.Contains([]string{markFile, "LOCK", "lost+found"}, f.Name())
	})
	if foreign >= 0 {
		return fmt.Errorf("%w, such as %s", errForeign, files[foreign].Name())
	}
	return nil
}

// own closes the folder to other users, marks it as a store, and removes what a crash in a probe left.
func own(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, probeFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if info, err := os.Stat(filepath.Join(dir, markFile)); err == nil && info.Size() == int64(len(mark)) {
		return nil
	}
	return writeMark(dir)
}

// writeMark returns after the disk has the mark: it must be there before any file of Pebble is.
func writeMark(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, markFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(mark)
	return errors.Join(err, f.Sync(), f.Close())
}

// probe writes as much as a database needs to begin with.
func (s *Store) probe() error {
	name := filepath.Join(s.dir, probeFile)
	defer func() { _ = s.fs.Remove(name) }() // or it is written over the next time
	f, err := s.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	return errors.Join(err, f.Sync(), f.Close())
}

// lockFolder takes the folder for this process.
func lockFolder(dir string, fs vfs.FS) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fs)
	// Pebble has no error value for a lock that this process holds.
	if errors.Is(err, syscall.EAGAIN) || err != nil && strings.Contains(err.Error(), "lock held by current process") {
		return nil, ErrLocked
	}
	return lock, err
}

// openError says what could not be opened, why, and what to do.
func openError(dir string, err error) error {
	return fmt.Errorf("pebblestore: open %s: %w (hint: %s)", dir, oneLineError{err}, hint(err))
}

// A oneLineError is an error cut to its first line: Pebble writes one for each file that it misses.
type oneLineError struct{ error }

func (e oneLineError) Error() string {
	first, _, _ := strings.Cut(e.error.Error(), "\n")
	return first
}

func (e oneLineError) Unwrap() error { return e.error }

func hint(err error) string {
	is := func(errnos ...syscall.Errno) bool {
		return slices.ContainsFunc(errnos, func(e syscall.Errno) bool { return errors.Is(err, e) })
	}
	switch {
	case errors.Is(err, ErrLocked):
		return "stop the other process, or give each a folder of its own"
	case errors.Is(err, errForeign):
		return "name an empty folder, or one that does not exist"
	case errors.Is(err, errLayout):
		return "use the version of Reprise that made it, or move the folder away: then sessions are lost and nothing else"
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return "make room on the disk"
	case is(syscall.EROFS, syscall.EACCES, syscall.EPERM):
		return fmt.Sprintf("the folder and all in it must be writable for user %d", os.Getuid())
	case is(syscall.ENOTDIR, syscall.EEXIST):
		return "name a folder, not a file"
	case is(syscall.EMFILE, syscall.ENFILE):
		return "raise the limit of open files"
	default:
		return "if the folder is damaged, move it away: then sessions are lost and nothing else"
	}
}
