package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

var modeNames = map[string]reprise.Mode{
	"off":                reprise.ModeOff,
	"client":             reprise.ModeClient,
	"server":             reprise.ModeServer,
	"both":               reprise.ModeBoth,
	"no-auto-clear":      reprise.ModeNoAutoClear,
	"no-internal-lookup": reprise.ModeNoInternalLookup,
	"no-internal-store":  reprise.ModeNoInternalStore,
	"no-internal":        reprise.ModeNoInternal,
	"update-time":        reprise.ModeUpdateTime,
}

const modeHint = "the names are off, client, server, both, no-auto-clear, no-internal-lookup, no-internal-store, no-internal " +
	"and update-time, such as --mode server,no-internal"

// parseMode reads names of mode bits separated by commas, in the spelling of this program or of OpenSSL, such as
// SSL_SESS_CACHE_NO_INTERNAL.
func parseMode(list string) (reprise.Mode, error) {
	var mode reprise.Mode
	off := false
	for name := range strings.SplitSeq(list, ",") {
		plain := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
		plain = strings.TrimPrefix(plain, "ssl-sess-cache-")
		bits, ok := modeNames[plain]
		if !ok {
			return 0, hint.With(fmt.Errorf("--mode: unknown name %q", name), modeHint)
		}
		mode |= bits
		off = off || plain == "off"
	}
	switch {
	case off && mode&reprise.ModeBoth != 0:
		return 0, hint.With(fmt.Errorf("--mode %s: off excludes server, client and both", list), modeHint)
	case !off && mode&reprise.ModeServer == 0:
		return 0, hint.With(errors.New("--mode has neither server nor off: no session would be stored"), modeHint)
	}
	return mode, nil
}
