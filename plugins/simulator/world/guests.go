package world

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// ConnectHost makes a host ready; repeated, it takes over what has changed.
// Errors: Invalid for a host without CPUs or memory.
func (l *Live) ConnectHost(h Host) error {
	if !IsUUID(h.UUID) {
		return badUUID("host", h.UUID)
	}
	if h.CPUs <= 0 || h.Memory <= 0 {
		return errs.New(errs.Invalid, "host "+h.UUID, "it has %d CPUs and %d bytes of memory", h.CPUs, h.Memory).
			WithAdvice("give cpuCapacity and memoryCapacity above 0")
	}
	h.Connected = true
	return l.do(func() ([]entry, error) {
		if old := l.w.Hosts[h.UUID]; old != nil {
			if h.Revision = old.Revision; *old == h {
				return nil, nil
			}
		}
		return []entry{{Host: &h}}, nil
	})
}

// CheckHost tells whether a host is connected. Errors: Unavailable.
func (l *Live) CheckHost(host string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected(host)
}

func (l *Live) connected(host string) error {
	if h := l.w.Hosts[host]; h == nil || !h.Connected {
		return errs.New(errs.Unavailable, "host "+host, "not connected").WithAdvice("reconnect the host")
	}
	return nil
}

// DisconnectHost forgets a host; guests on it go on and keep it in the world.
func (l *Live) DisconnectHost(host string) error {
	return l.do(func() ([]entry, error) {
		h := l.w.Hosts[host]
		if h == nil {
			return nil, nil
		}
		l.endWatches(host)
		if len(l.x.vmsOf[host]) == 0 {
			return []entry{without(kindHost, host)}, nil
		}
		lost := *h
		lost.Connected = false
		return []entry{{Host: &lost}}, nil
	})
}

// VMs returns the guests of a connected host, ordered by UUID.
func (l *Live) VMs(host string) ([]*VM, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connected(host); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(l.x.vmsOf[host]), func(a, b *VM) int {
		if a.UUID < b.UUID {
			return -1
		}
		return 1
	}), nil
}

// StartVM starts a guest on v.Host and returns its state; one that is active
// there stays as it is. Errors: Unavailable for a host that is not connected;
// Refused when it is active on another host or when a disk or MAC is another
// active guest's; Exhausted when the host is full; Invalid for disks, bridges
// and NICs that nobody has made.
func (l *Live) StartVM(v VM) (State, error) {
	v.State = Running
	if err := checkVM(&v); err != nil {
		return "", err
	}
	state := v.State
	err := l.do(func() ([]entry, error) {
		if err := l.connected(v.Host); err != nil {
			return nil, err
		}
		if old := l.w.VMs[v.UUID]; old.Active() {
			if old.Host != v.Host {
				return nil, errs.New(errs.Refused, "VM "+v.UUID, "it is %s on host %s already", old.State, old.Host)
			}
			state = old.State
			return nil, nil
		}
		if err := l.fits(&v, nil); err != nil {
			return nil, err
		}
		return []entry{{VM: &v}}, nil
	})
	return state, err
}

// RebootVM stops the guest on v.Host, if it is active there, and starts it as
// v says, in one. Errors as for StartVM.
func (l *Live) RebootVM(v VM) (State, error) {
	v.State = Running
	if err := checkVM(&v); err != nil {
		return "", err
	}
	err := l.do(func() ([]entry, error) {
		if err := l.connected(v.Host); err != nil {
			return nil, err
		}
		old := l.w.VMs[v.UUID]
		if old.Active() && old.Host != v.Host {
			return nil, errs.New(errs.Refused, "VM "+v.UUID, "it is %s on host %s", old.State, old.Host)
		}
		if err := l.fits(&v, old); err != nil {
			return nil, err
		}
		return []entry{{VM: &v}}, nil
	})
	return v.State, err
}

// StopVM leaves a guest stopped; one that is gone or stopped is a success.
func (l *Live) StopVM(host, vm string) error {
	return l.setState(host, vm, func(v *VM) (State, error) { return Stopped, nil })
}

// PauseVM pauses a running guest. Errors: NotFound, Refused for a stopped one.
func (l *Live) PauseVM(host, vm string) error { return l.toggle(host, vm, Paused) }

// ResumeVM undoes PauseVM, with its errors.
func (l *Live) ResumeVM(host, vm string) error { return l.toggle(host, vm, Running) }

func (l *Live) toggle(host, vm string, to State) error {
	return l.setState(host, vm, func(v *VM) (State, error) {
		if v == nil {
			return "", errs.New(errs.NotFound, "VM "+vm, "not on host %s", host)
		}
		if !v.Active() {
			return "", errs.New(errs.Refused, "VM "+vm, "it is %s", v.State).WithAdvice("start it first")
		}
		return to, nil
	})
}

func (l *Live) setState(host, vm string, next func(*VM) (State, error)) error {
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		v := l.x.vmsOf[host][vm]
		state, err := next(v)
		if err != nil || v == nil || v.State == state {
			return nil, err
		}
		changed := *v
		changed.State = state
		return []entry{{VM: &changed}}, nil
	})
}

// DestroyVM removes a guest from a host; one that is gone is a success.
func (l *Live) DestroyVM(host, vm string) error {
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		if l.x.vmsOf[host][vm] == nil {
			return nil, nil
		}
		return []entry{without(kindVM, vm)}, nil
	})
}

func checkVM(v *VM) error {
	if !IsUUID(v.UUID) {
		return badUUID("VM", v.UUID)
	}
	if v.CPUs <= 0 || v.Memory <= 0 {
		return errs.New(errs.Invalid, "VM "+v.UUID, "it has %d CPUs and %d bytes of memory", v.CPUs, v.Memory)
	}
	for i := range v.Disks {
		for j := range v.Disks[:i] {
			if v.Disks[i].Path != "" && v.Disks[i].Path == v.Disks[j].Path && !v.Disks[i].CDROM {
				return errs.New(errs.Invalid, "VM "+v.UUID, "disk %s is there twice", v.Disks[i].Path)
			}
		}
	}
	return nil
}

// fits checks whether v can become active. own is the guest as it is: what it
// holds now is no obstacle.
func (l *Live) fits(v, own *VM) error {
	h, used := l.w.Hosts[v.Host], l.x.used[v.Host]
	if own.Active() {
		used.cpus -= own.CPUs
		used.memory -= own.Memory
	}
	if left := limit(h.Memory, l.limits.Memory) - used.memory; v.Memory > left {
		return errs.New(errs.Exhausted, "host "+v.Host, "VM %s needs %d bytes of memory, %d are free", v.UUID, v.Memory, left)
	}
	if left := limit(h.CPUs, l.limits.CPU) - used.cpus; v.CPUs > left {
		return errs.New(errs.Exhausted, "host "+v.Host, "VM %s needs %d CPUs, %d are free", v.UUID, v.CPUs, left)
	}
	for i := range v.Disks {
		if err := l.usable(v, &v.Disks[i]); err != nil {
			return err
		}
	}
	for i := range v.NICs {
		if err := l.pluggable(v, &v.NICs[i]); err != nil {
			return err
		}
	}
	return nil
}

func limit(have int64, ratio float64) int64 {
	if ratio == 0 {
		return have
	}
	return int64(float64(have) * ratio)
}

func (l *Live) usable(v *VM, d *Disk) error {
	if d.CDROM && d.Path == "" {
		return nil
	}
	known := l.w.Volumes[d.Path] != nil
	if d.CDROM {
		known = known || l.w.Cache[d.Path] != nil
	}
	if !known {
		return errs.New(errs.Invalid, "VM "+v.UUID, "nothing has been created at disk %s's path %q", d.UUID, d.Path)
	}
	if l.w.Links[pair(storageOf(d.Path), v.Host)] == nil {
		return errs.New(errs.Invalid, "VM "+v.UUID, "the storage of disk %q is not attached to host %s", d.Path, v.Host)
	}
	if d.CDROM || d.Shareable {
		return nil
	}
	for _, holder := range l.x.holders[d.Path] {
		if holder != v.UUID {
			return errs.New(errs.Refused, "VM "+v.UUID, "disk %q is in use by VM %s", d.Path, holder)
		}
	}
	return nil
}

func (l *Live) pluggable(v *VM, n *NIC) error {
	if l.x.bridges[pair(v.Host, n.Bridge)] == 0 {
		return errs.New(errs.Invalid, "VM "+v.UUID, "NIC %s: no network was realized as bridge %q on host %s", n.UUID, n.Bridge, v.Host)
	}
	if other, taken := l.x.macs[pair(n.Bridge, n.MAC)]; taken && other != v.UUID {
		return errs.New(errs.Refused, "VM "+v.UUID, "NIC %s: MAC %s is in use by VM %s", n.UUID, n.MAC, other)
	}
	b := l.w.Bindings[pair(v.Host, n.UUID)]
	if b == nil {
		if l.limits.StrictNICs && l.x.served[n.Bridge] > 0 {
			return errs.New(errs.Invalid, "VM "+v.UUID, "NIC %s was not prepared on host %s, though networks on bridge %q have services",
				n.UUID, v.Host, n.Bridge)
		}
		return nil
	}
	if b.VM != v.UUID || b.MAC != n.MAC {
		return errs.New(errs.Invalid, "VM "+v.UUID, "NIC %s was prepared for VM %s with MAC %s, not %s", n.UUID, b.VM, b.MAC, n.MAC)
	}
	return nil
}

func badUUID(what, uuid string) error {
	return errs.New(errs.Invalid, fmt.Sprintf("%s %q", what, uuid), "its UUID is not 32 lower-case hex digits")
}
