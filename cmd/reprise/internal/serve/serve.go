// Package serve runs a server: it opens what the settings name, serves, reloads, drains, and closes everything in order.
package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/admin"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/metrics"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/systemd"
	"github.com/reprise-tls/reprise/listen"
)

// A server is what runs.
type server struct {
	settings *config.Serve
	version  string
	started  time.Time
	log      *slog.Logger

	cache    *reprise.Cache
	store    reprise.Store
	binding  *reprise.StoreBinding
	identity *identity

	front     front
	listeners []*listen.Listener
	adminAddr string
	metrics   *metrics.Set
	draining  atomic.Bool
	failed    chan error // has the error of a listener that ended by itself
	serving   sync.WaitGroup
}

// Run serves until SIGTERM or SIGINT, and returns nil then; a second signal ends the process. The settings must have
// been checked. To out it writes how to try the server.
func Run(settings *config.Serve, version string, out io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	s := &server{
		settings: settings,
		version:  version,
		started:  time.Now(),
		log:      settings.Operation.Logger(),
	}
	if err := makeStateDir(settings.Store.StateDir, s.log); err != nil {
		return err
	}
	adminSocket, err := listenAdmin(settings.Operation.AdminAddress)
	if err != nil {
		return err
	}
	defer adminSocket.Close()
	s.adminAddr = adminSocket.Addr().String()
	closeCache, err := s.open(signals)
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeCache()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.begin(ctx, adminSocket)
	s.greet(out)
	return s.wait(signals)
}

// errStopped: the server is to stop before it serves.
var errStopped = errors.New("stopped")

// open opens the cache with its store, and the sockets. That may take seconds, if the store does not answer, in which signals are heeded.
func (s *server) open(signals chan os.Signal) (closeCache func(), err error) {
	opened := make(chan func(), 1)
	failed := make(chan error, 1)
	go func() {
		closeCache, err := s.openAll()
		if err != nil {
			failed <- err
			return
		}
		opened <- closeCache
	}()
	slow := time.NewTimer(time.Second)
	defer slow.Stop()
	reload := false
	for {
		select {
		case err := <-failed:
			return nil, err
		case closeCache := <-opened:
			if reload { // what was read may have changed since
				select {
				case signals <- syscall.SIGHUP:
				default: // there are others, one of which does so or ends the server
				}
			}
			return closeCache, nil
		case <-slow.C:
			s.log.Info("opening the store", "store", s.settings.Store.URL.String())
		case sig := <-signals:
			if reload = reload || sig == syscall.SIGHUP; sig != syscall.SIGHUP {
				s.log.Info("stopping", "signal", sig.String())
				return nil, errStopped
			}
		}
	}
}

func (s *server) openAll() (closeCache func(), err error) {
	if closeCache, err = s.openCache(); err != nil {
		return nil, err
	}
	if err = s.listen(); err != nil {
		closeCache()
		return nil, err
	}
	return closeCache, nil
}

// listenAdmin opens the admin interface. Without one it returns a listener that nobody reaches.
func listenAdmin(addr *admin.Address) (net.Listener, error) {
	if addr == nil {
		return unreachable{}, nil
	}
	return admin.Listen(*addr)
}

// begin starts everything that goes on by itself, until ctx is done.
func (s *server) begin(ctx context.Context, adminSocket net.Listener) {
	s.failed = make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.serving.Go(func() { s.failed <- s.front.Serve(s.observe(l)) })
	}
	go func() { _ = s.newAdmin().Serve(adminSocket) }()
	go s.keepKeyMark(ctx)
	go s.identity.watcher.Run(ctx, certs.PollInterval, s.reloadCertificates)
	if err := systemd.Notify(systemd.Ready); err != nil {
		s.log.Warn("systemd was not told that the server is ready", "error", err)
	}
}

// wait handles signals until the server is to stop.
func (s *server) wait(signals <-chan os.Signal) error {
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				s.reloadCertificates()
				s.reloadFleetKeys()
				continue
			}
			signal.Reset(syscall.SIGTERM, syscall.SIGINT) // a second one ends the process
			s.log.Info("stopping", "signal", sig.String())
			s.drain()
			return nil
		case err := <-s.failed:
			s.drain()
			return errors.Join(errors.New("a listener failed"), err)
		}
	}
}

// drain lets load balancers notice, stops accepting and waits until all connections have ended, or their time is up. No
// connection fails that a socket had accepted, so that a fleet can be restarted node by node.
func (s *server) drain() {
	s.draining.Store(true)
	if err := systemd.Notify(systemd.Stopping); err != nil {
		s.log.Warn("systemd was not told that the server stops", "error", err)
	}
	time.Sleep(s.settings.Listening.DrainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), s.settings.Listening.DrainTimeout)
	defer cancel()
	for _, l := range s.listeners {
		s.serving.Go(func() { _ = l.Shutdown(ctx) }) // the front tells what was cut off
	}
	s.serving.Wait() // every connection is with the front
	if err := s.front.Shutdown(ctx); err != nil {
		s.log.Warn("connections were cut off when their time was up", "drain_timeout", s.settings.Listening.DrainTimeout)
	}
}

// unreachable is a listener without an address.
type unreachable struct{}

func (unreachable) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (unreachable) Close() error              { return nil }
func (unreachable) Addr() net.Addr            { return &net.UnixAddr{Name: "none"} }
