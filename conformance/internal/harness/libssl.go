package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A LibsslProgram is a program in C on libssl, which is built when a test first needs it. The zero value lacks its Sources.
type LibsslProgram struct {
	Sources string // a pattern of file names

	once sync.Once
	dir  string
	path string
	err  error
}

// Path returns the path of the program. Without a compiler or the headers of a libssl like the one whose doings were recorded the test is skipped; with CI set it fails.
func (p *LibsslProgram) Path(t *testing.T) string {
	t.Helper()
	Need(t, "cc")
	Need(t, "pkg-config")
	if exec.Command("pkg-config", "--exists", "openssl >= 3.0.22").Run() != nil {
		const missing = "the headers of libssl are missing, or older than 3.0.22 (libssl-dev)"
		if os.Getenv("CI") != "" {
			t.Fatal(missing + "; with CI set, all that scripts/install-test-deps.sh installs must be there")
		}
		t.Skip(missing + "; scripts/install-test-deps.sh says how to install them")
	}
	p.once.Do(func() { p.err = p.build() })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

func (p *LibsslProgram) build() error {
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "openssl").Output()
	if err != nil {
		return fmt.Errorf("pkg-config: %w", err)
	}
	sources, err := filepath.Glob(p.Sources)
	if err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "reprise-libssl-"); err != nil {
		return err
	}
	p.path = filepath.Join(p.dir, "program")
	args := append([]string{"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", p.path}, sources...)
	args = append(args, strings.Fields(string(flags))...)
	if output, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cc %q: %w\n%s", args, err, output)
	}
	return nil
}

// Remove removes the program, if it was built. TestMain calls it when all tests are done.
func (p *LibsslProgram) Remove() {
	if p.dir != "" {
		os.RemoveAll(p.dir) //nolint:errcheck // a temporary folder
	}
}
