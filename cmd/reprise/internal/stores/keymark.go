package stores

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// A key mark is a record in a store that has the names of the fleet keys which its sessions are sealed under: a line
// "reprise fleet keys 1", then one name a line. The names tell nothing about the keys. A server that is given other
// keys sees it at the start, rather than wonder why no session resumes.
const keyMarkFirstLine = "reprise fleet keys 1"

// KeyMark is where the key mark lies.
var KeyMark = reprise.StoreKey(sha256.Sum256([]byte("reprise fleet key names")))

// keyMarkLifetime is that of the last session that a server may have made when it stops.
const keyMarkLifetime = reprise.MaxLineage

// ErrOtherKeys is the error of a store whose sessions are all sealed under other fleet keys.
var ErrOtherKeys = errors.New("the sessions in the store are sealed under other fleet keys")

// CheckKeys returns an error with [ErrOtherKeys] if the store has sessions of other fleet keys alone. Another error
// is one of the store.
func CheckKeys(ctx context.Context, s reprise.Store, keys *reprise.FleetKeys) error {
	record, ok, err := s.Get(ctx, KeyMark)
	if err != nil || !ok {
		return err
	}
	first, marked, _ := strings.Cut(string(record), "\n")
	if first != keyMarkFirstLine {
		return nil // of a newer version; it can't be judged
	}
	theirs, ours := strings.Fields(marked), names(keys)
	if slices.ContainsFunc(ours, func(name string) bool { return slices.Contains(theirs, name) }) {
		return nil
	}
	return hint.With(fmt.Errorf("%w: theirs is %s, this one %s", ErrOtherKeys, strings.Join(theirs, ", "), strings.Join(ours, ", ")),
		"give the --fleet-key of the server that made them; if that key is gone, or was removed on purpose, "+
			"empty the store with 'reprise sessions flush --store URL'; fleets with keys of their own need a --store, or a --store-prefix, of their own")
}

// MarkKeys writes which fleet keys the sessions of the store are sealed under.
func MarkKeys(ctx context.Context, s reprise.Store, keys *reprise.FleetKeys) error {
	mark := keyMarkFirstLine + "\n" + strings.Join(names(keys), "\n") + "\n"
	return s.Put(ctx, KeyMark, []byte(mark), keyMarkLifetime)
}

func names(keys *reprise.FleetKeys) []string {
	var names []string
	for _, key := range keys.Info(time.Now()) {
		names = append(names, key.Name)
	}
	return names
}
