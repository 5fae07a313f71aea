package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// IsTemporary reports whether an error of [Open] may pass by itself: no server has answered, or too few sentinels have, or one that reads its data, is a replica or
// belongs to a cluster that is not whole. A server may start then, with [Options.Lazy]. A wrong password and a missing right do not pass.
func IsTemporary(err error) bool {
	var few *sentinelsError
	if errors.As(err, &few) {
		return few.isTemporary()
	}
	var answer *rueidis.RedisError
	if errors.As(err, &answer) {
		kind, _, _ := strings.Cut(answer.Error(), " ")
		return slices.Contains(passing, kind)
	}
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, errNoPrimary) || isUnnamed(err) || errors.Is(err, errNotServing) || errors.Is(err, errReplica)
}

// passing are the kinds of errors that Redis answers with until something has come to its end: reading data, a failover, a script.
var passing = []string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN", "NOREPLICAS", "BUSY"}
