package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// TestClientCache: a command that runs for a moment resumes what an earlier run of it has stored.
func TestClientCache(t *testing.T) {
	forEachVariant(t, func(t *testing.T, s settings) {
		c := cachingClient{Addr: s.serve(t).Addr, Version: s.version, CA: s.files.CA, Dir: t.TempDir()}
		before := c.run(t)
		before.isFull(t, "not-offered")
		for range 3 {
			now := c.run(t)
			now.isOf(t, before)
			before = now
		}
		c.Addr = s.serve(t).Addr
		c.run(t).isFull(t, "not-offered") // another server's sessions are not for this one
	})
}

// clientEnv has the settings of the client that this test binary is, if it is set.
const clientEnv = "REPRISE_CONFORMANCE_CLIENT"

// cachingClient is a program that makes one connection with a [reprise.ClientCache] over an embedded store.
type cachingClient struct {
	Addr    string
	Version uint16
	CA      string
	Dir     string // of the store and the key
}

// cachingResult is what it prints.
type cachingResult struct {
	Resumed bool
	Body    []byte
}

// run runs the client in a process of its own.
func (c cachingClient) run(t *testing.T) result {
	t.Helper()
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), clientEnv+"="+string(encoded))
	command.Stderr = t.Output()
	output, err := command.Output()
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	var r cachingResult
	if err := json.Unmarshal(output, &r); err != nil {
		t.Fatal(err)
	}
	return clientSays(parseAnswer(t, r.Body), r.Resumed)
}

// runCachingClient is the main function of the client.
func runCachingClient(settings string) (status int) {
	var c cachingClient
	err := json.Unmarshal([]byte(settings), &c)
	if err == nil {
		err = c.main()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		return 1
	}
	return 0
}

func (c cachingClient) main() (err error) {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	store, err := pebblestore.Open(filepath.Join(c.Dir, "sessions"), pebblestore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		return err
	}
	cache.SetMode(reprise.ModeClient)
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, binding.Close(ctx), cache.Close())
	}()
	return c.connect(cache)
}

// keys returns the keys in a file that is made at the first run.
func (c cachingClient) keys() (*reprise.FleetKeys, error) {
	file := filepath.Join(c.Dir, "client.key")
	if err := reprise.CreateFleetKeyFile(file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return reprise.LoadFleetKeys(file)
}

func (c cachingClient) connect(cache *reprise.Cache) error {
	root, err := os.ReadFile(c.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	config := &tls.Config{RootCAs: roots, ServerName: harness.NameA, MinVersion: c.Version, MaxVersion: c.Version}
	if config.ClientSessionCache, err = reprise.NewClientCache(cache, c.Addr, config); err != nil {
		return err
	}
	var r cachingResult
	if r.Resumed, r.Body, err = ask(c.Addr, config); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
