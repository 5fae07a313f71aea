package sslsession_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
)

// seed makes a run with generated sessions come again.
var seed = flag.Uint64("seed", rand.Uint64(), "of the generated sessions")

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	program.Remove()
	os.Exit(status)
}

// newRand returns a source of randomness for one test.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("run again with -seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}
