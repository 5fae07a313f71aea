// Command reprise is a TLS server whose clients resume: from any node of a fleet, and after a restart.
//
// It ends TLS in front of a TCP or HTTP server, or answers how each connection was made. See 'reprise --help'.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/keycmd"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessioncmd"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessionfile"
)

// version is set by the linker; without, it comes from the module's version.
var version string

type commands struct {
	Serve    serveCommand        `cmd:"" help:"Serve TLS: in front of a backend, or answering how each connection was made."`
	Sessions sessioncmd.Command  `cmd:"" help:"List, show and remove sessions."`
	Session  sessionfile.Command `cmd:"" help:"Show or convert one session in a file, OpenSSL's or ours."`
	Key      keycmd.Command      `cmd:"" help:"Make, rotate and identify fleet keys."`
	Version  versionCommand      `cmd:"" help:"Show the version of this program and of Go."`

	ShowVersion versionFlag `name:"version" env:"-" help:"Show the version of this program and of Go."`
}

const description = `TLS server with a session cache: clients resume on every server of a fleet, and after a restart.

Try it, then let curl connect twice; its second connection resumes:

    reprise serve --self-signed
    curl -k --http1.1 https://127.0.0.1:8443/ https://127.0.0.1:8443/
`

func main() { os.Exit(run(os.Args[1:])) }

// run runs the command line and returns the status to exit with: 0, 1 if the command failed, 2 if it was wrong.
func run(args []string) int {
	var cli commands
	parser := kong.Must(&cli,
		kong.Name("reprise"),
		kong.Description(description),
		kong.DefaultEnvars(config.EnvPrefix),
		kong.ConfigureHelp(kong.HelpOptions{
			Compact:             true,
			NoExpandSubcommands: true,
			WrapUpperBound:      100,
			ValueFormatter:      func(value *kong.Value) string { return value.Help }, // not each variable's name
		}),
		kong.BindTo(os.Stdout, (*io.Writer)(nil)),
		kong.Bind(config.Origins{}),
	)
	ctx, err := parser.Parse(args)
	if err != nil {
		hint.Print(os.Stderr, "reprise: ", hintUsage(err))
		return 2
	}
	if err := ctx.Run(&cli.Sessions.Where); err != nil {
		hint.Print(os.Stderr, "reprise: ", err)
		return 1
	}
	return 0
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(out io.Writer) error { return printVersion(out) }

// A versionFlag prints the version instead of doing anything else.
type versionFlag bool

// BeforeReset is called by kong before anything is checked.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	err := printVersion(app.Stdout)
	if err == nil {
		app.Exit(0)
	}
	return err
}

func printVersion(out io.Writer) error {
	_, err := fmt.Fprintf(out, "reprise %s (%s %s/%s)\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
