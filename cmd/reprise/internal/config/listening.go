package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// DefaultListen is where a server listens if nothing else is said and systemd has handed over no socket.
const DefaultListen = "127.0.0.1:8443"

// Listening says where clients connect, and how long they may take.
type Listening struct {
	Listen           []string      `placeholder:"HOST:PORT" help:"Address to listen on; repeatable. IPv6 in brackets; without a host on all addresses. Default: the sockets that systemd hands over, else 127.0.0.1:8443."`
	Engine           string        `enum:"auto,crypto/tls,native" default:"auto" placeholder:"NAME" help:"What does the handshakes: auto, native for clients of TLS 1.2 and crypto/tls for all others; crypto/tls, which in TLS 1.2 does not resume clients without tickets; native, for TLS 1.2 alone. Default: ${default}."`
	HandshakeTimeout time.Duration `default:"10s" placeholder:"DURATION" help:"How long a TLS handshake may take. Default: ${default}."`
	DrainDelay       time.Duration `default:"0s" placeholder:"DURATION" help:"How long connections are still taken after SIGTERM, while /healthz answers 503 already: what a load balancer needs to notice. Default: ${default}."`
	DrainTimeout     time.Duration `default:"30s" placeholder:"DURATION" help:"How long connections may go on after SIGTERM. Default: ${default}."`
}

func (l *Listening) check() error {
	var errs []error
	for _, addr := range l.Listen {
		errs = append(errs, hint.With(checkAddr(addr), "such as --listen 127.0.0.1:8443, --listen '[::1]:8443' or --listen :443"))
	}
	errs = append(errs, positive("--handshake-timeout", l.HandshakeTimeout, "10s"), positive("--drain-timeout", l.DrainTimeout, "30s"))
	if l.DrainDelay < 0 {
		errs = append(errs, hint.With(fmt.Errorf("--drain-delay %v: must not be negative", l.DrainDelay), "such as --drain-delay 5s"))
	}
	return hint.Join(errs...)
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		if n, portErr := strconv.ParseUint(port, 10, 16); portErr != nil || n > 65535 {
			err = errors.New("the port must be a number from 0 to 65535")
		}
	}
	if err != nil {
		return fmt.Errorf("--listen %s: %w", addr, err)
	}
	return nil
}

// positive returns an error if d is not; suchAs is a value that would be good.
func positive(flag string, d time.Duration, suchAs string) error {
	if d > 0 {
		return nil
	}
	return hint.With(fmt.Errorf("%s %v: must be more than zero", flag, d), "such as %s %s", flag, suchAs)
}
