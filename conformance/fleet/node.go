package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Node is 'reprise serve', with a state folder of its own and the same address each time that it is started.
type Node struct {
	// Name is the node's name in its answers.
	Name string
	// Address is where it listens.
	Address string

	program string
	dir     string
	args    []string
	admin   http.Client

	mu      sync.Mutex
	process *process
}

// newNode returns a node that is not started yet. args are further flags of 'reprise serve'.
func newNode(program, dir, name string, args ...string) *Node {
	n := &Node{Name: name, Address: fmt.Sprintf("127.0.0.1:%d", freePort()), program: program, dir: filepath.Join(dir, name)}
	n.args = append([]string{"serve", "--listen", n.Address, "--state-dir", n.dir, "--node", name}, args...)
	n.admin = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true, // a compressor takes 0.8 MB, which the numbers would show now and then
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.dir, "admin.sock"))
		},
	}}
	return n
}

// Start starts the node and waits until it is ready.
func (n *Node) Start() error {
	p, err := startProcess(n.dir+".log", exec.Command(n.program, n.args...))
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
	return p.until("it is ready", n.Healthy)
}

// Stop ends the node as its operator would, and waits until it has ended well.
func (n *Node) Stop() error {
	p := n.running()
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.wait()
}

// Kill ends the node as a crash does.
func (n *Node) Kill() {
	if p := n.running(); p != nil {
		p.kill()
	}
}

func (n *Node) running() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// Healthy tells whether the node takes connections, by its /healthz.
func (n *Node) Healthy() bool {
	response, err := n.admin.Get("http://localhost/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// StoreCounters returns the counters of the node's store, by the names that /_status has for them. Those with labels
// are left out.
func (n *Node) StoreCounters() (map[string]float64, error) {
	response, err := n.admin.Get("http://localhost/_status")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var status struct {
		Store struct {
			Counters map[string]any `json:"counters"`
		} `json:"store"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return nil, err
	}
	counters := make(map[string]float64)
	for name, value := range status.Store.Counters {
		if number, ok := value.(float64); ok {
			counters[name] = number
		}
	}
	return counters, nil
}

// Metric returns a metric without labels from the node's /metrics.
func (n *Node) Metric(name string) (float64, error) {
	response, err := n.admin.Get("http://localhost/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// Log returns what the node has written so far.
func (n *Node) Log() string {
	log, _ := os.ReadFile(n.dir + ".log")
	return string(log)
}
