package plugin

import (
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// The states of a plugin.
const (
	// Running: its process takes calls.
	Running = "running"
	// Restarting: it has no process, and is given one.
	Restarting = "restarting"
	// Stopped: the core starts or ends.
	Stopped = "stopped"
	// Disabled: the operator has switched it off.
	Disabled = "disabled"
	// NotGranted: it asks for more than it is granted, and does not run.
	NotGranted = "not granted"
)

// Status tells how one plugin is.
type Status struct {
	Name    string
	Version string
	// PID is 0 while there is no process.
	PID int
	// State is one of the words above.
	State string
	// Restarts counts how often the process was replaced, other than by an upgrade.
	Restarts int
	// LastError is why it was last restarted, or cannot be; "" when never.
	LastError string
	// Since is when the process started.
	Since time.Time
	// SHA256 is the pinned hash of the binary at Path, in hex.
	SHA256 string
	Path   string
	// Memory is the resident memory of the process in bytes, as it was last told.
	Memory int64
	// CanaryVersion is the version that takes the calls for hosts in CanaryZones, by its
	// process CanaryPID; "" when there is none (Manager.Canary).
	CanaryVersion string
	CanaryZones   []string
	CanaryPID     int
}

// Status tells how each plugin is, in the order in which they became known.
func (m *Manager) Status() []Status {
	plugins := m.all()
	out := make([]Status, len(plugins))
	for i, p := range plugins {
		out[i] = p.status()
	}
	return out
}

// Asks tells what a plugin's manifest asks for, and what of that is missing for it
// to run.
func (m *Manager) Asks(name string) (asked, missing []string) {
	s, err := m.plugin(name)
	if err != nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lacks := (*lacking)(nil); s.off != "" && errors.As(s.lastErr, &lacks) {
		return lacks.manifest.GetPermissions(), lacks.missing
	}
	return s.manifest.Load().GetPermissions(), nil
}

// Ready refuses, as errs.Unavailable, a plugin that is off until somebody wants it to
// run; one that is being started again is ready.
func (m *Manager) Ready(name string) error {
	s, err := m.plugin(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	off := s.off
	s.mu.Unlock()
	if off != "" {
		return s.unavailable(nil)
	}
	return nil
}

// Provides names what a plugin declares: "hypervisor type KVM".
func (m *Manager) Provides(name string) []string {
	s, err := m.plugin(name)
	if err != nil {
		return nil
	}
	return typeKeys(s.manifest.Load())
}

func (s *supervised) status() Status {
	st := Status{Name: s.name, State: Restarting, Version: s.manifest.Load().GetVersion()}
	p := s.current.Load()
	if c := s.canary.Load(); c != nil {
		st.CanaryVersion, st.CanaryZones, st.CanaryPID = c.manifest.Load().GetVersion(), c.zones, c.runner.pidOf()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Restarts, st.SHA256, st.Path = s.restarts, hex.EncodeToString(s.bin.sum), s.bin.path
	if s.lastErr != nil {
		st.LastError = s.lastErr.Error()
	}
	switch {
	case s.off != "":
		st.State = s.off
	case s.stopped:
		st.State = Stopped
	case p != nil:
		st.State, st.Since, st.Memory = Running, p.started, p.memory.Load()
		if p.runner != nil { // Connected has none
			st.PID, _ = strconv.Atoi(p.runner.ID()) // the number that os/exec gave
		}
	}
	return st
}
