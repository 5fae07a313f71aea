package conformance_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

// answerLine is the answer of the server, in the output of a client that prints other things too.
var answerLine = regexp.MustCompile(`(?m)^\{.*\}\r?$`)

func findAnswer(t *testing.T, output []byte) harness.Answer {
	t.Helper()
	line := answerLine.Find(output)
	if line == nil {
		t.Fatalf("no answer of the server in the output of the client:\n%s", output)
	}
	return parseAnswer(t, line)
}

func parseAnswer(t *testing.T, body []byte) (answer harness.Answer) {
	t.Helper()
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("answer of the server: %v:\n%s", err, body)
	}
	return answer
}

// A dialog is a process that is told line by line what to do, and answers in lines.
type dialog struct {
	process *harness.Process
	input   io.Writer
	output  *bufio.Scanner
}

func startDialog(t *testing.T, command *exec.Cmd) *dialog {
	t.Helper()
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &dialog{harness.StartProcess(t, command), input, bufio.NewScanner(output)}
}

// ask sends a line and returns the line that answers it.
func (d *dialog) ask(t *testing.T, line string) []byte {
	t.Helper()
	if _, err := io.WriteString(d.input, line+"\n"); err != nil {
		t.Fatal(err)
	}
	return d.next(t)
}

// next returns the next line. It does not wait forever.
func (d *dialog) next(t *testing.T) []byte {
	t.Helper()
	defer time.AfterFunc(harness.Patience, d.process.Kill).Stop()
	if !d.output.Scan() {
		t.Fatalf("the client has ended without an answer: %v", d.process.Wait())
	}
	return d.output.Bytes()
}

// A script is a client in another language that the test tells what to offer.
type script struct{ *dialog }

// scriptSettings is what a script gets as its argument.
func scriptSettings(s settings) string {
	encoded, _ := json.Marshal(map[string]any{"version": s.versionName(), "ca": s.files.CA})
	return string(encoded)
}

func (c script) connect(t *testing.T, r request) result {
	t.Helper()
	order := map[string]any{"port": r.port(), "name": r.name, "keep": r.keep}
	if r.certificate != nil {
		order["cert"], order["key"] = r.certificate.cert, r.certificate.key
	}
	encoded, _ := json.Marshal(order)
	var outcome struct {
		Resumed bool   `json:"resumed"`
		Body    string `json:"body"`
	}
	line := c.ask(t, string(encoded))
	if err := json.Unmarshal(line, &outcome); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return clientSays(parseAnswer(t, []byte(outcome.Body)), outcome.Resumed)
}
