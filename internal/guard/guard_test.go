package guard_test

import (
	"context"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/internal/guard"
)

func TestHolds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if guard.Holds(ctx) {
		t.Error("it holds without a mark")
	}
	deadline, _ := ctx.Deadline()
	marked := context.WithValue(ctx, guard.Key{}, deadline)
	if !guard.Holds(marked) {
		t.Error("it does not hold")
	}
	later, cancel := context.WithTimeout(marked, 2*time.Hour)
	defer cancel()
	if !guard.Holds(later) {
		t.Error("it does not hold where the deadline is the same")
	}
	earlier, cancel := context.WithTimeout(marked, time.Minute)
	defer cancel()
	if guard.Holds(earlier) {
		t.Error("it holds for a deadline that the caller has not set")
	}
}
