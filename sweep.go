package reprise

import (
	"context"
	"fmt"
	"time"

	"github.com/reprise-tls/reprise/internal/stack"
)

const sweepInterval = time.Minute

func (b *StoreBinding) sweepEachMinute(ctx context.Context, s Sweeper) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.sweep(ctx, s)
		}
	}
}

func (b *StoreBinding) sweep(ctx context.Context, s Sweeper) {
	defer func() {
		if p := recover(); p != nil {
			b.logger.Error("reprise: store panicked", "method", "sweep", "panic", fmt.Sprint(p), "stack", stack.Trace())
		}
	}()
	removed, err := s.Sweep(ctx)
	b.counts.swept.Add(uint64(max(removed, 0)))
	if err != nil && ctx.Err() == nil {
		b.logger.Warn("reprise: store not swept", "error", err)
	}
}
