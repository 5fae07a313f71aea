package conformance_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

func startPython(t *testing.T, s settings) client {
	t.Helper()
	return script{startDialog(t, exec.Command(harness.Need(t, "python3"), "testdata/client.py", scriptSettings(s)))}
}

func startNode(file string) func(t *testing.T, s settings) client {
	return func(t *testing.T, s settings) client {
		t.Helper()
		return script{startDialog(t, exec.Command(harness.Need(t, "node"), filepath.Join("testdata", file), scriptSettings(s)))}
	}
}

// java is HttpsURLConnection. It keeps sessions by itself, and does not say whether it has resumed.
type java struct{ *dialog }

// javaClasses compiles the program, once for all tests, and returns the folder that it is in then.
var javaClasses = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(harness.Shared(), "java")
	output, err := exec.Command("javac", "-d", dir, "testdata/Client.java").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("javac: %w\n%s", err, output)
	}
	return dir, err
})

func startJava(t *testing.T, s settings) client {
	t.Helper()
	return startJavaWith(t, s)
}

// startJavaWith gives more options to the virtual machine.
func startJavaWith(t *testing.T, s settings, options ...string) client {
	t.Helper()
	harness.Need(t, "javac")
	classes, err := javaClasses()
	if err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	harness.Write(t, hosts, fmt.Appendf(nil, "127.0.0.1 %s %s\n", harness.NameA, harness.NameB))
	return java{startDialog(t, exec.Command(harness.Need(t, "java"), append(options,
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", // which warns on standard output of what others left behind
		"-Djdk.net.hosts.file="+hosts,
		"-cp", classes, "Client", "TLSv1."+s.versionName()[len("TLS 1."):], s.files.CA)...))}
}

func (c java) connect(t *testing.T, r request) result {
	t.Helper()
	line := c.ask(t, fmt.Sprintf("https://%s:%s/", r.name, r.port()))
	return result{Answer: parseAnswer(t, line), answered: true}
}
