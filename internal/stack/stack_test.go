package stack_test

import (
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/internal/stack"
)

func recovered(secret string) (trace string) {
	defer func() {
		_ = recover()
		trace = trace1()
	}()
	panic(secret)
}

func trace1() string { return stack.Trace() }

func TestTraceNamesFunctionsAndNoArguments(t *testing.T) {
	trace := recovered("secret")
	if !strings.Contains(trace, "stack_test.recovered") || !strings.Contains(trace, "stack_test.go:") {
		t.Errorf("trace %q", trace)
	}
	if strings.Contains(trace, "secret") || strings.Contains(trace, "0x") {
		t.Errorf("trace with arguments: %q", trace)
	}
}
