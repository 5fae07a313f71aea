package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native"
)

// serveArgument makes the program a server.
const serveArgument = "serve"

// A serverSetup is what a server process is told first, as JSON on its standard input.
type serverSetup struct {
	Kind     string
	Chain    [][]byte // server certificates
	Key      []byte   // PKCS #8
	ClientCA []byte   // empty: no client certificates are asked for
	Folder   string   // for the embedded store
	Redis    string   // URL
	Profiles string   // beginning of the names of files; empty: none are written
	// ClosesFirst makes it close a connection when it has echoed a byte, rather than wait for the client to do so.
	ClosesFirst bool
}

// A serverStarted is its answer.
type serverStarted struct {
	Address string
}

// A sampleRequest asks for a sample, once so many connections were served since the start. If RoundTrips is not 0, it has so many
// calls of Redis made, Concurrency at a time.
type sampleRequest struct {
	Connections             int
	RoundTrips, Concurrency int
}

// A sample is what a server has used and done since its start.
type sample struct {
	CPU                        time.Duration
	Allocations, Bytes         int
	Gets, Takes, Puts, Deletes int
	// RoundTrip is the median of those asked for, RoundTripCPU what each has used.
	RoundTrip, RoundTripCPU time.Duration
}

func (s sample) minus(t sample) sample {
	return sample{
		CPU:         s.CPU - t.CPU,
		Allocations: s.Allocations - t.Allocations,
		Bytes:       s.Bytes - t.Bytes,
		Gets:        s.Gets - t.Gets,
		Takes:       s.Takes - t.Takes,
		Puts:        s.Puts - t.Puts,
		Deletes:     s.Deletes - t.Deletes,
	}
}

// serve is the server process: it answers requests until input ends.
func serve(input io.Reader, output io.Writer) (err error) {
	requests, answers := json.NewDecoder(input), json.NewEncoder(output)
	var setup serverSetup
	if err := requests.Decode(&setup); err != nil {
		return err
	}
	s, err := newServer(setup)
	if err != nil {
		return fmt.Errorf("server %s: %w", setup.Kind, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := answers.Encode(serverStarted{Address: s.listener.Addr().String()}); err != nil {
		return err
	}
	for {
		var request sampleRequest
		if err := requests.Decode(&request); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.wait(request.Connections)
		sample, err := s.sample()
		if err == nil && request.RoundTrips > 0 {
			err = sample.addRoundTrips(setup.Redis, request.RoundTrips, request.Concurrency)
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(sample); err != nil {
			return err
		}
	}
}

// A server is a minimal TLS server.
type server struct {
	listener net.Listener
	store    closableStore         // nil if there is none
	binding  *reprise.StoreBinding // nil if there is none
	profiles *profiles

	closesFirst bool
	writesLast  bool
	isPlain     bool

	mu     sync.Mutex
	served int
	grown  *sync.Cond // served has
}

func newServer(setup serverSetup) (*server, error) {
	k, ok := kindOf(setup.Kind)
	if !ok {
		return nil, errors.New("no such server")
	}
	config, err := setup.config()
	if err != nil {
		return nil, err
	}
	s := &server{closesFirst: setup.ClosesFirst, writesLast: k.writesLast, isPlain: k.isPlain()}
	s.grown = sync.NewCond(&s.mu)
	var cache *reprise.Cache
	switch {
	case k.bind == bareHooks:
		err = newPrototype(config, setup.Redis)
	case k.bind != stateless && !k.isPlain():
		cache, err = s.newCache(k, setup)
	}
	if err != nil {
		return nil, err
	}
	if s.listener, err = k.listen(config, cache); err != nil {
		return nil, err
	}
	if s.profiles, err = startProfiles(setup.Profiles); err != nil {
		return nil, err
	}
	go s.accept()
	return s, nil
}

func (setup *serverSetup) config() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(setup.Key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: setup.Chain, PrivateKey: key}}}
	if len(setup.ClientCA) == 0 {
		return config, nil
	}
	root, err := x509.ParseCertificate(setup.ClientCA)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	config.ClientCAs.AddCert(root)
	return config, nil
}

// newCache makes the cache and binds it to the store, if the server has one.
func (s *server) newCache(k kind, setup serverSetup) (*reprise.Cache, error) {
	secret := make([]byte, reprise.FleetKeyLength)
	rand.Read(secret)
	keys, err := reprise.NewFleetKeys(secret)
	if err != nil {
		return nil, err
	}
	cache, err := k.newCache(keys)
	if err != nil || k.store == noStore {
		return cache, err
	}
	if s.store, err = openStore(k.store, setup); err != nil {
		return nil, err
	}
	if s.binding, err = reprise.BindStore(cache, s.store, reprise.StoreOptions{}); err != nil {
		return nil, err
	}
	if err = s.awaitNotices(); err != nil {
		return nil, err
	}
	if k.bareGets {
		bindBareGets(cache, setup.Redis)
	}
	return cache, nil
}

// awaitNotices waits until the store tells of removals, if it does: until then the internal cache is not trusted.
func (s *server) awaitNotices() error {
	if _, ok := s.store.(reprise.Notifier); !ok {
		return nil
	}
	for range 1000 {
		if s.binding.Stats().Following {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the store does not tell of removals")
}

// fill fills the cache with sessions that nobody resumes.
func fill(cache *reprise.Cache) error {
	params := reprise.SessionParams{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32), Created: time.Now(),
	}
	raw := make([]byte, reprise.MaxSessionIDLength)
	for range cache.Size() {
		rand.Read(raw)
		var err error
		if params.ID, err = reprise.MakeSessionID(raw); err != nil {
			return err
		}
		session, err := reprise.NewSession(params)
		if err != nil {
			return err
		}
		if err := cache.Add(session); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.exchange(conn)
	}
}

// exchange echoes a byte, waits for the client's close_notify if that comes first, and closes the connection. What fails, the
// client tells.
func (s *server) exchange(conn net.Conn) {
	if s.isPlain {
		exchangePlain(conn)
	} else {
		s.echo(conn)
	}
	conn.Close()
	s.mu.Lock()
	s.served++
	s.mu.Unlock()
	s.grown.Signal()
}

func (s *server) echo(conn net.Conn) {
	var b [1]byte
	if _, err := conn.Read(b[:]); err != nil {
		return
	}
	s.write(conn, b[:])
	if !s.closesFirst {
		conn.Read(b[:]) //nolint:errcheck // the client tells
	}
}

// write writes the echo, which is the last of the data if the server closes first.
func (s *server) write(conn net.Conn, echo []byte) {
	if last, ok := conn.(*native.Conn); ok && s.writesLast {
		last.WriteLast(echo) //nolint:errcheck // the client tells
		return
	}
	conn.Write(echo) //nolint:errcheck // the client tells
}

// wait waits until so many connections were served.
func (s *server) wait(connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.served < connections {
		s.grown.Wait()
	}
}

// sample waits until all that was done is in the store, and measures.
func (s *server) sample() (sample, error) {
	var m sample
	if s.binding != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.binding.Flush(ctx); err != nil {
			return m, err
		}
		stats := s.binding.Stats()
		m.Gets, m.Takes, m.Puts, m.Deletes = int(stats.Gets), int(stats.Takes), int(stats.Puts), int(stats.Deletes)
	}
	heap := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(heap)
	m.Allocations, m.Bytes = int(heap[0].Value.Uint64()), int(heap[1].Value.Uint64())
	var err error
	m.CPU, err = usedCPU()
	return m, err
}

// usedCPU returns the CPU time of this process so far.
func usedCPU() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

// addRoundTrips makes bare GETs.
func (s *sample) addRoundTrips(redis string, calls, concurrency int) (err error) {
	s.RoundTrip, err = roundTrip(redis, calls, concurrency)
	if err != nil {
		return err
	}
	after, err := usedCPU()
	s.RoundTripCPU = (after - s.CPU) / time.Duration(calls)
	return err
}

func (s *server) close() error {
	err := errors.Join(s.profiles.write(), s.listener.Close())
	if s.binding != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, s.binding.Close(ctx), s.store.Close())
	}
	return err
}
