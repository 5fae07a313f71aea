package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/listen"
)

// serveEcho serves ln, with an echo of one byte for each connection. It returns a channel that has the error that Accept ends with.
func serveEcho(ln net.Listener) <-chan error {
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				ended <- err
				return
			}
			go func() {
				_, _ = io.CopyN(conn, conn, 1)
				conn.Close()
			}()
		}
	}()
	return ended
}

// TestShutdownFailsNoConnection that the kernel has accepted, wherever it waits.
func TestShutdownFailsNoConnection(t *testing.T) {
	for _, engine := range []string{listen.EngineStandard, listen.EngineAuto} {
		t.Run(engine, func(t *testing.T) {
			// Of the clients most wait in the queue of the kernel.
			ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{MaxHandshakes: 3, Engine: engine})
			ended := serveEcho(ln)
			var raws []net.Conn
			for range 50 {
				raws = append(raws, dial(t, ln))
			}
			for ln.Stats().Pending < 3 {
				time.Sleep(time.Millisecond)
			}
			shutdown := make(chan error, 1)
			go func() { shutdown <- ln.Shutdown(t.Context()) }()
			config := clientConfig(t, tls.VersionTLS12)
			var clients sync.WaitGroup
			for i, raw := range raws {
				clients.Go(func() {
					client := tls.Client(raw, config.Clone())
					if _, err := client.Write([]byte("x")); err != nil {
						t.Errorf("client %d: %v", i, err)
					} else if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
					client.Close()
				})
			}
			clients.Wait()
			if err := <-shutdown; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
			}
			if s := ln.Stats(); s.Completed != 50 || s.Failed != 0 || s.Pending != 0 {
				t.Errorf("listener: %+v", s)
			}
			if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
				t.Error("the kernel still accepts")
			}
		})
	}
}

// TestShutdownGivesUp: a client that does nothing holds it up no longer than its context.
func TestShutdownGivesUp(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener() // cannot be told to stop waiting
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{})
		ended := serveEcho(ln)
		silent, err := inner.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ln.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
		}
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the silent client read %v, want io.EOF", err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
		}
	})
}

// TestShutdownWaitsForHandshakes: their timeout bounds it.
func TestShutdownWaitsForHandshakes(t *testing.T) {
	certtest.Shared(t)
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newListener(t, inner, newCache(t, reprise.Options{}), listen.Options{HandshakeTimeout: 3 * time.Second})
		serveEcho(ln)
		if _, err := inner.dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := ln.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v, want 3s", took)
		}
	})
}

func TestShutdownBeforeAccept(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
	for range 2 {
		if err := ln.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
	}
}

// A slowHTTP2 is a request over HTTP/2, on a connection of package native, whose handler waits.
type slowHTTP2 struct {
	server   *listen.HTTPServer
	answer   chan struct{} // closed to let the handler answer
	outcome  chan error    // of the request
	listener net.Listener
}

func startSlowHTTP2(t *testing.T) *slowHTTP2 {
	t.Helper()
	s := &slowHTTP2{answer: make(chan struct{}), outcome: make(chan error, 1), listener: listenTCP(t)}
	l, err := listen.New(s.listener, engineConfig(t), newCache(t, reprise.Options{}), listen.Options{NativeHTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	s.server, err = listen.NewHTTPServer(&http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/2.0" {
			t.Errorf("the request is of %s", r.Proto)
		}
		close(asked)
		<-s.answer
	})})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.server.Serve(l) }() // until it is closed
	t.Cleanup(func() { s.server.Close() })
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: clientConfig(t, tls.VersionTLS12)}}
	t.Cleanup(client.CloseIdleConnections)
	go func() {
		response, err := client.Get("https://" + s.listener.Addr().String())
		if err == nil {
			response.Body.Close()
		}
		s.outcome <- err
	}()
	<-asked
	return s
}

// TestHTTPServerShutdown waits for HTTP/2 on connections of package native.
func TestHTTPServerShutdown(t *testing.T) {
	s := startSlowHTTP2(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown with a request under way: %v, want %v", err, context.DeadlineExceeded)
	}
	shutdown := make(chan error, 1)
	go func() { shutdown <- s.server.Shutdown(t.Context()) }()
	close(s.answer)
	if err := <-s.outcome; err != nil {
		t.Errorf("the request under way failed: %v", err)
	}
	if err := <-shutdown; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestHTTPServerClose closes connections of package native too.
func TestHTTPServerClose(t *testing.T) {
	s := startSlowHTTP2(t)
	defer close(s.answer)
	if err := s.server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-s.outcome; err == nil {
		t.Error("a request succeeded whose connection was closed")
	}
}
