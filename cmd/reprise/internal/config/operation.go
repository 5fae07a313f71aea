package config

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
)

// Operation is what operators see of the server.
type Operation struct {
	Admin       string `placeholder:"ADDR" help:"Where metrics, status and sessions are reached: unix:PATH (mode 0600), HOST:PORT on loopback, or none. Default: unix:STATE-DIR/admin.sock."`
	UnsafeAdmin bool   `help:"Allow an admin address beyond loopback. It has no password."`
	Node        string `placeholder:"NAME" help:"Name of this server in answers and logs. Default: the host name."`
	LogLevel    string `enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn or error. Default: ${default}."`
	LogFormat   string `enum:"text,json" default:"text" placeholder:"FORMAT" help:"Form of the log on standard error: text or json. Default: ${default}."`

	// AdminAddress is what Admin means; nil for none.
	AdminAddress *admin.Address `kong:"-"`
}

func (o *Operation) check(stateDir string) error {
	if o.Node == "" {
		o.Node, _ = os.Hostname()
	}
	if o.Admin == "none" {
		return nil
	}
	raw := o.Admin
	if raw == "" {
		raw = "unix:" + filepath.Join(stateDir, "admin.sock")
	}
	addr, err := admin.ParseAddress(raw, o.UnsafeAdmin)
	if err != nil {
		return err
	}
	o.AdminAddress = &addr
	return nil
}

// Logger returns the logger that the settings ask for. It writes to standard error.
func (o *Operation) Logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(o.LogLevel)) // info if it is none
	options := &slog.HandlerOptions{Level: level}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
