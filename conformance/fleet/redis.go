package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrNoRedis: this machine has no redis-server or redis-cli.
var ErrNoRedis = errors.New("redis-server or redis-cli is missing; on Debian: apt-get install redis-server redis-tools")

// A Redis is a redis-server with a port and a folder of its own, that keeps what it has when it is killed. It never waits for the disk.
type Redis struct {
	// Address is where it listens.
	Address string
	// Dir is the folder of its data.
	Dir string

	args []string
	*process
}

// StartRedis starts a server below a folder and waits until it answers. args are further settings, as redis-server takes them.
func StartRedis(dir string, args ...string) (*Redis, error) {
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrNoRedis
		}
	}
	port := fmt.Sprint(freePort())
	r := &Redis{Address: "127.0.0.1:" + port, Dir: filepath.Join(dir, "redis-"+port)}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		return nil, err
	}
	r.args = append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", r.Dir, "--save", "", "--appendonly", "yes", "--appendfsync", "no",
	}, args...)
	return r, r.Start()
}

// Start starts the server again, after [Redis.Kill], and waits until it answers.
func (r *Redis) Start() (err error) {
	if r.process, err = startProcess(r.Dir+".log", exec.Command("redis-server", r.args...)); err != nil {
		return err
	}
	return r.until("it answers", func() bool {
		_, err := r.Command("PING")
		return err == nil
	})
}

// Kill ends the server as a crash does.
func (r *Redis) Kill() { r.kill() }

// Signal sends a signal: SIGSTOP makes the server hang until SIGCONT.
func (r *Redis) Signal(s syscall.Signal) error { return r.signal(s) }

// Command runs a command of Redis and returns the answer as redis-cli prints it.
func (r *Redis) Command(args ...string) (string, error) {
	_, port, _ := strings.Cut(r.Address, ":")
	answer, err := exec.Command("redis-cli", append([]string{"-e", "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redis-cli %s: %w: %s", args[0], err, answer)
	}
	return strings.TrimSpace(string(answer)), nil
}

// A Cluster is a Redis Cluster of three masters, each with a replica.
type Cluster struct {
	// Nodes are the masters, as it was begun, and then the replicas.
	Nodes []*Redis
}

// StartCluster starts a cluster below a folder and waits until it is whole.
func StartCluster(dir string) (*Cluster, error) {
	c := &Cluster{}
	create := []string{"--cluster", "create"}
	for range 6 {
		r, err := StartRedis(dir, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")
		if err != nil {
			c.Close()
			return nil, err
		}
		c.Nodes = append(c.Nodes, r)
		create = append(create, r.Address)
	}
	create = append(create, "--cluster-replicas", "1", "--cluster-yes")
	if output, err := exec.Command("redis-cli", create...).CombinedOutput(); err != nil {
		c.Close()
		return nil, fmt.Errorf("redis-cli --cluster create: %w\n%s", err, output)
	}
	for _, r := range c.Nodes {
		if err := r.until("its cluster is whole", r.isInWholeCluster); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// isInWholeCluster tells whether the server knows who has each slot, and has got the data of its master if it is a replica.
func (r *Redis) isInWholeCluster() bool {
	cluster, _ := r.Command("CLUSTER", "INFO")
	nodes, _ := r.Command("CLUSTER", "NODES")
	replication, _ := r.Command("INFO", "replication")
	return strings.Contains(cluster, "cluster_state:ok") && strings.Count(nodes, " slave ")+strings.Count(nodes, "myself,slave ") == 3 &&
		(strings.Contains(replication, "role:master") || strings.Contains(replication, "master_link_status:up"))
}

// URL returns the cluster's URL, which names its first three nodes.
func (c *Cluster) URL() string {
	var addresses []string
	for _, r := range c.Nodes[:3] {
		addresses = append(addresses, r.Address)
	}
	return "redis+cluster://" + strings.Join(addresses, ",")
}

// Close ends all nodes.
func (c *Cluster) Close() {
	for _, r := range c.Nodes {
		r.Kill()
	}
}
