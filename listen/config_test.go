package listen_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/listen"
)

// exchange makes a connection, with an exchange of a byte.
func exchange(addr string, config *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn.ConnectionState(), err
}

// TestSetConfig: the next connection gets the new configuration in either engine, and sessions of before resume in it.
func TestSetConfig(t *testing.T) {
	for _, engine := range []string{listen.EngineAuto, listen.EngineStandard, listen.EngineNative} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if engine == listen.EngineNative && version == tls.VersionTLS13 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s", engine, tls.VersionName(version)), func(t *testing.T) {
				ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: engine})
				serveEcho(ln)
				client := clientConfig(t, version)
				exchangeWith := func(protocol string) tls.ConnectionState {
					t.Helper()
					state, err := exchange(ln.Addr().String(), client)
					if err != nil {
						t.Fatal(err)
					}
					if state.NegotiatedProtocol != protocol {
						t.Errorf("protocol %q, want %q", state.NegotiatedProtocol, protocol)
					}
					return state
				}
				client.NextProtos = []string{"new"}
				exchangeWith("")

				config := serverConfig(t)
				config.NextProtos = []string{"new"}
				if err := ln.SetConfig(config); err != nil {
					t.Fatal(err)
				}
				if config.GetConfigForClient != nil {
					t.Error("the configuration itself was attached")
				}
				if !exchangeWith("new").DidResume {
					t.Error("a session of before was not resumed")
				}
			})
		}
	}
}

// TestKeyLogOfBothEngines: lines of one writer come one after the other, whichever engine writes them. The race detector looks on.
func TestKeyLogOfBothEngines(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto})
	serveEcho(ln)
	config := serverConfig(t)
	var log bytes.Buffer
	config.KeyLogWriter = &log
	if err := ln.SetConfig(config); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	const each = 10
	for range each {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			clients.Go(func() {
				if _, err := exchange(ln.Addr().String(), clientConfig(t, version)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	clients.Wait()
	if err := ln.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"CLIENT_RANDOM ", "SERVER_TRAFFIC_SECRET_0 "} {
		if n := strings.Count("\n"+log.String(), "\n"+label); n != each {
			t.Errorf("%d lines of %s, want %d", n, label, each)
		}
	}
}

// TestSetConfigRefuses what New refuses, and changes nothing then.
func TestSetConfigRefuses(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto})
	serveEcho(ln)
	bad := serverConfig(t)
	bad.ClientAuth = tls.RequireAnyClientCert
	if err := ln.SetConfig(bad); !errors.Is(err, reprise.ErrContextRequired) {
		t.Errorf("client certificates without a context: %v", err)
	}
	if err := ln.SetConfig(nil); err == nil {
		t.Error("no error without a configuration")
	}
	if _, err := exchange(ln.Addr().String(), clientConfig(t, tls.VersionTLS12)); err != nil {
		t.Error(err)
	}
}

// TestSetConfigWhileServing: each connection sees one configuration as a whole.
func TestSetConfigWhileServing(t *testing.T) {
	ca, _ := certtest.Shared(t)
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto})
	serveEcho(ln)
	configs := make([]*tls.Config, 2)
	for i := range configs {
		name := fmt.Sprintf("%d.example", i)
		configs[i] = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, name)}, NextProtos: []string{name}}
	}
	if err := ln.SetConfig(configs[0]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var setting sync.WaitGroup
	setting.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if err := ln.SetConfig(configs[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for range 50 {
			client := &tls.Config{
				InsecureSkipVerify: true, MinVersion: version, MaxVersion: version,
				NextProtos: []string{"0.example", "1.example"},
			}
			state, err := exchange(ln.Addr().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			if got := state.PeerCertificates[0].DNSNames[0]; got != state.NegotiatedProtocol {
				t.Errorf("certificate of %s, protocol of %s", got, state.NegotiatedProtocol)
			}
		}
	}
	close(done)
	setting.Wait()
}
