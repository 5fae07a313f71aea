package fleet_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/reprise-tls/reprise/conformance/fleet"
	"github.com/reprise-tls/reprise/conformance/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Run(m)) }

// isLong asks for the long forms of the tests.
var isLong = os.Getenv("REPRISE_SOAK") != ""

// names are those of three nodes.
var names = []string{"north", "east", "south"}

// patient lets nodes wait for a lookup longer than their default, since a busy machine must not make a full handshake of a slow
// one, and go on until the balancer has noticed that they are about to end.
var patient = []string{"--lookup-timeout", "2s", "--drain-delay", "300ms"}

// TestFleet: three nodes behind a balancer, with a Redis Cluster. Clients resume wherever they land, and when all nodes are
// restarted, one after the other, no connection fails.
func TestFleet(t *testing.T) {
	c := startCluster(t)
	f := start(t, c.URL(), names, patient...)
	load := f.StartLoad(mix(t))
	defer load.Stop()

	await(t, 12*time.Second)
	tally, failures := load.Take()
	check(t, "steady", tally, failures, 0.999)
	checkVariety(t, tally)

	for _, n := range f.Nodes {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		await(t, 500*time.Millisecond)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		awaitUp(t, f, n)
		await(t, time.Second)
	}
	tally, failures = load.Take()
	check(t, "rolling restart", tally, failures, 0.99)
	checkVariety(t, tally)
}

// mix is all kinds of clients that this machine has.
func mix(t *testing.T) fleet.Mix {
	harness.Need(t, "curl")
	harness.Need(t, "openssl")
	return fleet.Mix{GoTLS13: 12, GoTLS12: 8, CurlTLS13: 2, CurlTLS12: 4, OpenSSLTLS13: 1, OpenSSLTLS12: 1}
}

// await lets clients come for a while, a long one if that is asked for.
func await(t *testing.T, d time.Duration) {
	t.Helper()
	if isLong {
		d *= 10
	}
	time.Sleep(d)
}

func awaitUp(t *testing.T, f *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	for end := time.Now().Add(harness.Patience); !f.Balancer.IsUp(n.Name); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the balancer does not notice that %s is back", n.Name)
		}
	}
}

// check checks that no connection failed and of those who came back a share at least has resumed.
func check(t *testing.T, phase string, tally fleet.Tally, failures []error, share float64) {
	t.Helper()
	all, resumed := tally.Returned()
	t.Logf("%s: %d of %d visits with a session resumed, %.2f %%; %d failed", phase, resumed, all, 100*float64(resumed)/float64(all), len(failures))
	for _, err := range failures {
		t.Errorf("%s: a connection failed: %v", phase, err)
	}
	if all < 1000 {
		t.Errorf("%s: %d visits with a session are too few to tell", phase, all)
	}
	if float64(resumed) < share*float64(all) {
		t.Errorf("%s: %d of %d visits with a session resumed, want %.1f %%", phase, resumed, all, 100*share)
	}
	for v, n := range tally {
		if v.Returned && !v.Resumed() {
			t.Logf("%s: not resumed, %d times: %+v", phase, n, v)
		}
	}
}

// checkVariety checks that each kind of client has resumed at each node sessions of another one.
func checkVariety(t *testing.T, tally fleet.Tally) {
	t.Helper()
	var clients []string
	for v := range tally {
		if !slices.Contains(clients, v.Client) {
			clients = append(clients, v.Client)
		}
	}
	if len(clients) != 6 {
		t.Errorf("clients of six kinds should have come: %q", clients)
	}
	for _, client := range clients {
		for _, node := range names {
			seen := tally.Count(func(v fleet.Visit) bool {
				return v.Client == client && v.Node == node && v.Elsewhere && v.Resumed()
			})
			if seen == 0 {
				t.Errorf("%s has resumed no session of another node at %s", client, node)
			}
		}
	}
}

// start starts a fleet that ends with the test.
func start(t *testing.T, store string, names []string, flags ...string) *fleet.Fleet {
	t.Helper()
	f, err := fleet.Start(fleet.Options{Program: harness.Program(), Dir: t.TempDir(), Store: store, Names: names, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if t.Failed() {
			for _, n := range f.Nodes {
				t.Logf("log of %s:\n%s", n.Name, n.Log())
			}
		}
	})
	return f
}

func startCluster(t *testing.T) *fleet.Cluster {
	t.Helper()
	c, err := fleet.StartCluster(t.TempDir())
	skipWithoutRedis(t, err)
	t.Cleanup(c.Close)
	return c
}

func startRedis(t *testing.T, args ...string) *fleet.Redis {
	t.Helper()
	r, err := fleet.StartRedis(t.TempDir(), args...)
	skipWithoutRedis(t, err)
	t.Cleanup(r.Kill)
	return r
}

func skipWithoutRedis(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, fleet.ErrNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
