// Package stack prints stacks for logs.
package stack

import (
	"fmt"
	"runtime"
	"strings"
)

// Trace returns the functions and lines that led to the caller of its caller, a line each. Unlike [runtime/debug.Stack] it
// prints no arguments, which may be session IDs.
func Trace() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var b strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return b.String()
		}
	}
}
