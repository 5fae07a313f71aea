// Package printable makes text that others chose fit to be shown in a terminal.
package printable

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns bytes that others chose so that no terminal takes them for commands: text as it is, or between quotes if it
// looks like something else, other bytes in hexadecimal behind 0x.
func Text(b []byte) string {
	s := string(b)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }):
		return "0x" + hex.EncodeToString(b)
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, `"`):
		return strconv.Quote(s)
	}
	return s
}
