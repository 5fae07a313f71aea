//go:build !unix

package reprise

import (
	"io/fs"
	"os"
)

// copyOwnerAndMode does nothing: files here belong to whoever may write the folder.
func copyOwnerAndMode(*os.File, fs.FileInfo) error { return nil }
