// Package fleet runs a fleet of servers on one machine: nodes of 'reprise serve' with a Redis that they share, a balancer in front of
// them, and clients that come back. Tests use it, and the program in its folder demo shows it.
package fleet

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Options are the settings of a [Fleet]. All but Flags are required.
type Options struct {
	// Program is the path of the program reprise.
	Program string
	// Dir is a folder for what the nodes write.
	Dir string
	// Store is the URL of the store that the nodes share.
	Store string
	// Names are those of the nodes.
	Names []string
	// Flags are further ones of 'reprise serve'.
	Flags []string
}

// A Fleet is some nodes and a balancer in front of them.
type Fleet struct {
	Nodes    []*Node
	Balancer *Balancer

	dir         string
	certificate *certificate
}

// Start starts a fleet and waits until all nodes are ready. [Fleet.Close] ends it.
func Start(o Options) (f *Fleet, err error) {
	f = &Fleet{dir: o.Dir}
	if f.certificate, err = newCertificate(o.Dir); err != nil {
		return nil, err
	}
	key := filepath.Join(o.Dir, "fleet.key")
	if output, err := exec.Command(o.Program, "key", "new", key).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s key new: %w\n%s", o.Program, err, output)
	}
	flags := append([]string{
		"--cert", f.certificate.cert, "--key", f.certificate.key, "--fleet-key", key, "--store", o.Store,
	}, o.Flags...)
	for _, name := range o.Names {
		n := newNode(o.Program, o.Dir, name, flags...)
		f.Nodes = append(f.Nodes, n)
		if err := n.Start(); err != nil {
			f.Close()
			return nil, err
		}
	}
	if f.Balancer, err = StartBalancer(f.Nodes); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends all of it. Nodes are killed; stop them before, if that matters.
func (f *Fleet) Close() {
	if f.Balancer != nil {
		f.Balancer.Close()
	}
	for _, n := range f.Nodes {
		n.Kill()
	}
}
