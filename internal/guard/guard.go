// Package guard spares a store a goroutine. Who calls a store and waits no longer than its context allows, whatever the store
// does, says so in the context; a store whose client does not always look at contexts then need not see to it itself.
package guard

import (
	"context"
	"time"
)

// Key is the key under which such a context has its deadline, a [time.Time].
type Key struct{}

// Holds reports whether a caller waits no longer than ctx allows. Somebody in between may have set an earlier deadline, which is not
// the caller's.
func Holds(ctx context.Context) bool {
	guarded, ok := ctx.Value(Key{}).(time.Time)
	if !ok {
		return false
	}
	deadline, _ := ctx.Deadline()
	return deadline.Equal(guarded)
}
