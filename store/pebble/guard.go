package pebblestore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A guard is the file system that Pebble sees. Pebble ends the process when a write to its log or manifest fails. The
// guard hides such failures: from the first one on nothing reaches the disk any more, all writes seem to work, and new
// files lie in memory. So the folder stays as a crash at that moment would leave it, and Pebble can be closed in good
// order. Whoever uses Pebble must ask whether the engine has failed before it trusts a result. (More in
// docs/decisions/0002-embedded-store.md.)
type guard struct {
	vfs.FS
	fail   func(error)
	frozen atomic.Bool
	memory *vfs.MemFS // files made since the guard froze, by their base names
}

func newGuard(fs vfs.FS, fail func(error)) *guard {
	return &guard{FS: fs, fail: fail, memory: vfs.NewMem()}
}

// freeze keeps all further writes from the disk.
func (g *guard) freeze() { g.frozen.Store(true) }

// write does one write to the disk, unless the guard is frozen.
func (g *guard) write(f func() error) {
	if g.frozen.Load() {
		return
	}
	if err := f(); err != nil {
		g.fail(err)
	}
}

// create makes a file to write to, in memory if the guard is frozen or freezes now.
func (g *guard) create(name string, f func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	g.write(func() (err error) {
		file, err = f()
		return err
	})
	if g.frozen.Load() {
		if file != nil {
			file.Close()
		}
		return g.memory.Create(filepath.Base(name), vfs.WriteCategoryUnspecified)
	}
	return &guardedFile{file, g}, nil
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(name, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.create(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, opts...) })
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, category) })
}

func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if g.frozen.Load() {
		if file, err := g.memory.Open(filepath.Base(name), opts...); err == nil {
			return file, nil
		}
	}
	return g.FS.Open(name, opts...)
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	file, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guardedFile{file, g}, nil
}

func (g *guard) Link(oldname, newname string) error {
	g.write(func() error { return g.FS.Link(oldname, newname) })
	return nil
}

func (g *guard) Rename(oldname, newname string) error {
	g.write(func() error { return g.FS.Rename(oldname, newname) })
	return nil
}

func (g *guard) MkdirAll(dir string, perm os.FileMode) error {
	g.write(func() error { return g.FS.MkdirAll(dir, perm) })
	return nil
}

// Remove passes errors on: Pebble lives with files that stay.
func (g *guard) Remove(name string) error {
	if g.frozen.Load() {
		return nil
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if g.frozen.Load() {
		return nil
	}
	return g.FS.RemoveAll(name)
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// A guardedFile is a file on the disk that a guard stands before.
type guardedFile struct {
	vfs.File
	guard *guard
}

func (f *guardedFile) Write(p []byte) (int, error) {
	f.guard.write(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return len(p), nil
}

func (f *guardedFile) WriteAt(p []byte, offset int64) (int, error) {
	f.guard.write(func() error {
		_, err := f.File.WriteAt(p, offset)
		return err
	})
	return len(p), nil
}

// Preallocate is only advice; what has no room will fail when it is written.
func (f *guardedFile) Preallocate(offset, length int64) error {
	if !f.guard.frozen.Load() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *guardedFile) Sync() error {
	f.guard.write(f.File.Sync)
	return nil
}

func (f *guardedFile) SyncData() error {
	f.guard.write(f.File.SyncData)
	return nil
}

func (f *guardedFile) SyncTo(length int64) (fullSync bool, err error) {
	f.guard.write(func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, nil
}

// Close reports what some file systems say only then: that an earlier write did not reach the disk.
func (f *guardedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.guard.write(func() error { return fmt.Errorf("close: %w", err) })
	}
	return nil
}
