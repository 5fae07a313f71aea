package main

import (
	"errors"

	"github.com/alecthomas/kong"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// hintUsage gives an error of the command line a hint where to read on, if it has none.
func hintUsage(err error) error {
	if hinted := new(hint.Error); errors.As(err, &hinted) {
		return err
	}
	command := "reprise"
	if parse := new(kong.ParseError); errors.As(err, &parse) && parse.Context != nil {
		if selected := parse.Context.Selected(); selected != nil {
			command = selected.FullPath()
		}
	}
	return hint.With(err, "'%s --help' shows what there is", command)
}
