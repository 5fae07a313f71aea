package reprise

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A fleet key file is text, one key a line:
//
//	# anything behind a number sign is a comment
//	reprise-fleet-key-1 <64 hex digits>
//	reprise-fleet-key-1 <64 hex digits> 2026-11-30T12:00:00Z
//
// The 1 is the revision of the line. The time, in the form of RFC 3339, is when the key becomes the current one; a key
// without it has been that from the beginning. The order of the lines does not matter. All nodes of a fleet have the
// same file. Whoever reads it, and a store, and the traffic, can resume the fleet's sessions as their clients: it
// belongs to the server's user, mode 0600.
const fleetKeyWord = "reprise-fleet-key-1"

const (
	// maxFleetKeyFile is the length in bytes of the longest fleet key file.
	maxFleetKeyFile = 64 << 10
	// maxFleetKeys bounds the keys of a file: each of them costs an HMAC for every ID that none of them made.
	maxFleetKeys = 16
)

// ParseFleetKeys reads the text of a fleet key file: one key a line, in the form
//
//	reprise-fleet-key-1 <64 hex digits> [<time from which it is current, such as 2026-11-30T12:00:00Z>]
//
// with comments behind number signs. It returns an error that names the line and never what is in it.
func ParseFleetKeys(text []byte) (*FleetKeys, error) {
	if len(text) > maxFleetKeyFile {
		return nil, fmt.Errorf("reprise: fleet key file of more than %d bytes", maxFleetKeyFile)
	}
	k := &FleetKeys{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		key, err := parseFleetKeyLine(line)
		if err == nil && key != nil {
			err = k.add(key)
		}
		if err != nil {
			return nil, fmt.Errorf("reprise: fleet key file, line %d: %w", number, err)
		}
	}
	if len(k.keys) == 0 {
		return nil, errors.New("reprise: fleet key file without a key")
	}
	return k, nil
}

// parseFleetKeyLine returns the key of a line, nil if the line has none. Its errors say nothing of the line's contents.
func parseFleetKeyLine(line string) (*fleetKey, error) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, nil
	}
	if fields[0] != fleetKeyWord {
		return nil, fmt.Errorf("does not begin with %s: damaged, or written by a newer version", fleetKeyWord)
	}
	if len(fields) < 2 || len(fields) > 3 {
		return nil, errors.New("must have a key and at most a time")
	}
	secret, err := hex.DecodeString(fields[1])
	if err != nil || len(secret) != FleetKeyLength {
		return nil, fmt.Errorf("the key must be %d hex digits", 2*FleetKeyLength)
	}
	defer clear(secret)
	var currentFrom time.Time
	if len(fields) == 3 {
		if currentFrom, err = time.Parse(time.RFC3339, fields[2]); err != nil {
			return nil, errors.New("the time must look like 2026-11-30T12:00:00Z")
		}
	}
	return newFleetKey(secret, currentFrom)
}

// add inserts a key at its place by the time from which it is current.
func (k *FleetKeys) add(key *fleetKey) error {
	if len(k.keys) == maxFleetKeys {
		return fmt.Errorf("more than %d keys", maxFleetKeys)
	}
	for _, other := range k.keys {
		switch {
		case other.name == key.name:
			return errors.New("the same key as on an earlier line")
		case other.currentFrom.Equal(key.currentFrom):
			return errors.New("becomes current at the same moment as the key of an earlier line")
		}
	}
	at := slices.IndexFunc(k.keys, func(other *fleetKey) bool { return other.currentFrom.Before(key.currentFrom) })
	if at < 0 {
		at = len(k.keys)
	}
	k.keys = slices.Insert(k.keys, at, key)
	return nil
}

// LoadFleetKeys reads a fleet key file. It refuses one that others than its owner can read. For a file that does
// not exist the error is [fs.ErrNotExist]. No error has anything of a key in it.
func LoadFleetKeys(path string) (*FleetKeys, error) {
	text, _, err := readFleetKeyFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	k, err := ParseFleetKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return k, nil
}

func readFleetKeyFile(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reprise: fleet key file: %w", err)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("reprise: fleet key file %s is not a regular file", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, nil, fmt.Errorf("reprise: fleet key file %s can be read or changed by others than its owner (mode %04o); chmod 600 it, and rotate the key if they may have read it",
			path, info.Mode().Perm())
	case info.Size() > maxFleetKeyFile:
		return nil, nil, fmt.Errorf("reprise: fleet key file %s has more than %d bytes", path, maxFleetKeyFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reprise: fleet key file: %w", err)
	}
	return text, info, nil
}

// CreateFleetKeyFile writes a file with one new random key, mode 0600. If there is a file already, it is left alone and
// the error is [fs.ErrExist].
func CreateFleetKeyFile(path string) error {
	err := writeNewFile(path, func(f *os.File) error {
		_, err := f.WriteString("# Reprise fleet key: keep it secret, and the same on all nodes of the fleet.\n" + newFleetKeyLine(time.Time{}))
		return err
	})
	if err != nil {
		return fmt.Errorf("reprise: fleet key file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// RotateFleetKeyFile adds a new random key to a file, which becomes current after the delay given, and drops previous keys
// whose sessions have all ended. Comments stay. The file is replaced in one step, keeping its mode and owner.
//
// The delay must be long enough to copy the file to every node of the fleet and to have it loaded there: nodes
// without the key can't resume the sessions made under it. Zero is for a single node. A file whose last rotation
// is still to take effect is left alone, with an error.
//
// Clocks of nodes may differ by an hour. A stolen key is not rotated but deleted: its sessions must not resume.
func RotateFleetKeyFile(path string, now time.Time, delay time.Duration) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("reprise: fleet key file: %w", err)
	}
	beside := path + ".new" // a fixed name, which keeps two rotations at a time apart
	err = writeNewFile(beside, func(f *os.File) error {
		text, info, err := readFleetKeyFile(path)
		if err != nil {
			return err
		}
		rotated, err := rotateFleetKeys(text, now, now.Add(max(delay, 0)))
		if err != nil {
			return fmt.Errorf("%w (%s)", err, path)
		}
		if err := copyOwnerAndMode(f, info); err != nil {
			return fmt.Errorf("reprise: fleet key file: %w", err)
		}
		_, err = f.WriteString(rotated)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("reprise: %s exists: another rotation is under way, or was interrupted; then delete it", beside)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		os.Remove(beside)
		return fmt.Errorf("reprise: fleet key file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// rotateFleetKeys returns the text with a new key, current from the time given, and without the keys that are over.
func rotateFleetKeys(text []byte, now, currentFrom time.Time) (string, error) {
	k, err := ParseFleetKeys(text)
	if err != nil {
		return "", err
	}
	if newest := k.keys[0].currentFrom; newest.After(now) {
		return "", fmt.Errorf("reprise: fleet key file has a key already that becomes current at %s; rotate after that, or delete its line first",
			newest.UTC().Format(time.RFC3339))
	}
	var rotated strings.Builder
	for line := range strings.Lines(string(text)) {
		if key, err := parseFleetKeyLine(line); err != nil || key != nil && k.over(key.name, now) {
			continue
		}
		rotated.WriteString(line)
	}
	if !strings.HasSuffix(rotated.String(), "\n") {
		rotated.WriteByte('\n')
	}
	rotated.WriteString(newFleetKeyLine(currentFrom))
	_, err = ParseFleetKeys([]byte(rotated.String())) // such as two rotations in one second
	return rotated.String(), err
}

// over reports whether all sessions under a key have ended: it was replaced longer ago than any lineage can last.
func (k *FleetKeys) over(name string, now time.Time) bool {
	at := slices.IndexFunc(k.keys, func(key *fleetKey) bool { return key.name == name })
	return at > 0 && now.After(k.keys[at-1].currentFrom.Add(MaxLineage+maxClockSkew.duration()))
}

// newFleetKeyLine makes a key.
func newFleetKeyLine(currentFrom time.Time) string {
	var secret [FleetKeyLength]byte
	rand.Read(secret[:])
	line := fleetKeyWord + " " + hex.EncodeToString(secret[:])
	if !currentFrom.IsZero() {
		line += " " + currentFrom.UTC().Format(time.RFC3339)
	}
	return line + "\n"
}

// writeNewFile makes a file that does not exist, mode 0600, and syncs it. After an error there is no such file.
func writeNewFile(path string, write func(*os.File) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	return f.Sync()
}

// syncFolder makes a new name in a folder last. Some file systems can't do that; there the name is as safe as it gets.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reprise: fleet key file: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("reprise: fleet key file: %w", err)
	}
	return nil
}
