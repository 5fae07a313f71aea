package main

import (
	"errors"
	"os"
	"runtime/pprof"
)

// profiles are the profiles of a server from its start to its end.
type profiles struct {
	name string
	cpu  *os.File
}

// startProfiles begins profiles in files whose names begin with name. It does nothing, and returns nil, if that is empty.
func startProfiles(name string) (*profiles, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	return &profiles{name, f}, pprof.StartCPUProfile(f)
}

// write ends the profiles.
func (p *profiles) write() error {
	if p == nil {
		return nil
	}
	pprof.StopCPUProfile()
	f, err := os.Create(p.name + ".allocs.pprof")
	if err != nil {
		return errors.Join(p.cpu.Close(), err)
	}
	return errors.Join(p.cpu.Close(), pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
