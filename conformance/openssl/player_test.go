package openssl_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// patience is how long playing all scenarios may take.
const patience = 3 * time.Minute

// player is testdata/player.
var player = harness.LibsslProgram{Sources: "testdata/player/*.c"}

func TestMain(m *testing.M) {
	status := m.Run()
	player.Remove()
	os.Exit(status)
}

// play has player play scenarios, with libssl as the server, or with the program at the other end of far if it is not nil. It
// returns what player prints.
func play(t *testing.T, scenarios string, far *os.File, flags ...string) traces {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, player.Path(t), flags...)
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
