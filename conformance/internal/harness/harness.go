// Package harness starts what the tests run: the program built from this repository, stores, and programs of others. All of it
// uses free loopback ports and folders of the test, and ends with it.
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// programEnv names the program to test. Without it, the program is built.
const programEnv = "REPRISE_BIN"

var (
	program string // path of the program to test
	shared  string // folder that all tests share
)

// Run builds the program and runs the tests: the body of TestMain. It returns the status to exit with.
func Run(m *testing.M) int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	defer os.RemoveAll(shared) //nolint:errcheck // a temporary folder
	runMoreAtOnce()
	return m.Run()
}

func prepare() (err error) {
	if shared, err = os.MkdirTemp("", "reprise-conformance-"); err != nil {
		return err
	}
	program, err = build(shared)
	return err
}

// runMoreAtOnce lets more tests run at once than there are cores, if nothing else is said: they wait for other processes, and
// for time to pass.
func runMoreAtOnce() {
	flag.Parse()
	isSet := false
	flag.Visit(func(f *flag.Flag) { isSet = isSet || f.Name == "test.parallel" })
	if !isSet {
		_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))) // testing has this flag
	}
}

// Shared returns a folder that is the same for all tests, and gone after them.
func Shared() string { return shared }

// Program returns the path of the program to test.
func Program() string { return program }

// build builds the program into dir, with the flags of 'make build', so that they share the go command's cache. It returns its path.
func build(dir string) (string, error) {
	if given := os.Getenv(programEnv); given != "" {
		return filepath.Abs(given)
	}
	path := filepath.Join(dir, "reprise")
	command := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/reprise-tls/reprise/cmd/reprise")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	return path, nil
}

// Reprise runs the program with args until it ends, and returns what it printed to its standard output. The test fails if the
// program does.
func Reprise(t *testing.T, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stderr = t.Output()
	output, err := command.Output()
	if err != nil {
		t.Fatalf("reprise %q: %v", args, err)
	}
	return output
}

// Need returns the path of a program that nobody here wrote. A test that needs one that is missing is skipped; with CI set in
// the environment it fails.
func Need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; with CI set, all that scripts/install-test-deps.sh installs must be there", name)
	}
	t.Skipf("%s is missing; scripts/install-test-deps.sh says how to install it", name)
	return ""
}
