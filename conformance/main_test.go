package conformance_test

import (
	"os"
	"testing"

	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(clientEnv); settings != "" {
		os.Exit(runCachingClient(settings))
	}
	os.Exit(harness.Run(m))
}
