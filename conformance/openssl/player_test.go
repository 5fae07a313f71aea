package openssl_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// patience is how long playing all scenarios may take.
const patience = 3 * time.Minute

// playerDir is the folder that player is built in, empty before.
var playerDir string

func TestMain(m *testing.M) {
	status := m.Run()
	if playerDir != "" {
		os.RemoveAll(playerDir) //nolint:errcheck // a temporary folder
	}
	os.Exit(status)
}

// buildPlayer builds testdata/player.
var buildPlayer = sync.OnceValues(func() (path string, err error) {
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "openssl").Output()
	if err != nil {
		return "", fmt.Errorf("pkg-config: %w", err)
	}
	sources, err := filepath.Glob("testdata/player/*.c")
	if err != nil {
		return "", err
	}
	if playerDir, err = os.MkdirTemp("", "reprise-openssl-"); err != nil {
		return "", err
	}
	path = filepath.Join(playerDir, "player")
	args := append([]string{"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path}, sources...)
	args = append(args, strings.Fields(string(flags))...)
	if output, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc %q: %w\n%s", args, err, output)
	}
	return path, nil
})

// playerPath returns the path of player. Without a compiler or libssl's headers the test is skipped; with CI set it fails.
func playerPath(t *testing.T) string {
	t.Helper()
	harness.Need(t, "cc")
	harness.Need(t, "pkg-config")
	if exec.Command("pkg-config", "--exists", "openssl").Run() != nil {
		const missing = "the headers of libssl are missing (libssl-dev)"
		if os.Getenv("CI") != "" {
			t.Fatal(missing + "; with CI set, all that scripts/install-test-deps.sh installs must be there")
		}
		t.Skip(missing + "; scripts/install-test-deps.sh says how to install them")
	}
	path, err := buildPlayer()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// play has player play scenarios, with libssl as the server, or with the program at the other end of far if it is not nil. It
// returns what player prints.
func play(t *testing.T, scenarios string, far *os.File, flags ...string) traces {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, playerPath(t), flags...)
	if far != nil {
		command.Args = append(command.Args, "--far", "3")
		command.ExtraFiles = []*os.File{far}
	}
	var output bytes.Buffer
	command.Stdin = strings.NewReader(scenarios)
	command.Stdout = &output
	command.Stderr = t.Output()
	if err := command.Run(); err != nil {
		t.Fatalf("player: %v; the last it printed:\n%s", err, lastLines(output.String(), 20))
	}
	return parseTraces(t, output.String())
}

func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
