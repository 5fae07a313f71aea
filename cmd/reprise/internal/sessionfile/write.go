package sessionfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// writeFile writes a file of mode 0600. One that is there is replaced in one step, if it may be.
func writeFile(name string, data []byte, replace bool) error {
	err := writeNew(name, data)
	switch {
	case errors.Is(err, fs.ErrExist) && replace:
		err = replaceFile(name, data)
	case errors.Is(err, fs.ErrExist):
		return hint.With(fmt.Errorf("%s exists", name), "name another file, or give --force to replace it")
	}
	return hint.With(err, "the folder must exist, have room, and this user must be allowed to write there")
}

// writeNew makes a file that does not exist. After an error there is none.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fill(f, data)
}

func replaceFile(name string, data []byte) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	if err := fill(f, data); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// fill writes a file that was just made, and removes it if that fails.
func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // it is of no use
	}
	return err
}
