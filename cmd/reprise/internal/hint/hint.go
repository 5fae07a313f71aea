// Package hint makes errors that say what to do next.
package hint

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// An Error is an error together with what the reader can do about it.
type Error struct {
	Err  error
	Hint string
}

// With returns err with a hint; nil if err is nil.
func With(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// Error returns the error without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without the hint.
func (e *Error) Unwrap() error { return e.Err }

// Errors are several independent errors, each with a hint of its own.
type Errors []error

// Join returns those of errs that are not nil as one error; nil if all are.
func Join(errs ...error) error {
	var list Errors
	for _, err := range errs {
		if err != nil {
			list = append(list, err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// Error returns the errors, a line each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors.
func (e Errors) Unwrap() []error { return e }

// Print writes err as people read it: a line that begins with prefix once, and below it one with the hint, if any.
// Of [Errors] it writes each so.
func Print(w io.Writer, prefix string, err error) {
	var list Errors
	if errors.As(err, &list) {
		for _, err := range list {
			Print(w, prefix, err)
		}
		return
	}
	fmt.Fprintf(w, "%s%s\n", prefix, strings.TrimPrefix(err.Error(), prefix))
	var hinted *Error
	if errors.As(err, &hinted) {
		fmt.Fprintf(w, "hint: %s\n", hinted.Hint)
	}
}
