package hint_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

func TestPrintEachErrorWithItsHint(t *testing.T) {
	plain := errors.New("first")
	hinted := fmt.Errorf("second: %w", hint.With(errors.New("cause"), "do %s", "this"))
	var out strings.Builder
	hint.Print(&out, "prog: ", fmt.Errorf("wrapped: %w", hint.Join(nil, plain, hinted)))
	want := "prog: first\nprog: second: cause\nhint: do this\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestNothingOfNothing(t *testing.T) {
	if err := hint.With(nil, "do this"); err != nil {
		t.Errorf("With(nil) = %v", err)
	}
	if err := hint.Join(nil, nil); err != nil {
		t.Errorf("Join(nil, nil) = %v", err)
	}
}
