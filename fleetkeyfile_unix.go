//go:build unix

package reprise

import (
	"io/fs"
	"os"
	"syscall"
)

// copyOwnerAndMode gives f the owner and the mode of another file, so that a server that reads a key file still can after
// root has rotated it.
func copyOwnerAndMode(f *os.File, like fs.FileInfo) error {
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(like.Mode().Perm())
}
