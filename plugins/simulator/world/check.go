package world

import (
	"fmt"
	"slices"
)

// Violations lists what cannot be in a sound world, ordered; tests want none:
// active guests on hosts that are not connected or without their disks and
// bridges, volumes without their image, storages over their size, and an
// address with two NICs.
func (w *World) Violations() []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	used := map[string]int64{}
	for path, v := range w.Volumes {
		used[v.Storage] += v.Size
		if v.Backing != "" && w.Cache[v.Backing] == nil {
			wrong("volume %s: its image %s is gone", path, v.Backing)
		}
	}
	for _, c := range w.Cache {
		used[c.Storage] += c.Actual
	}
	for uuid, s := range w.Storages {
		if used[uuid] > s.Free {
			wrong("primary storage %s: %d bytes are used of %d", uuid, used[uuid], s.Free)
		}
	}
	bridges := map[string]bool{}
	for _, b := range w.Bridges {
		bridges[pair(b.Host, b.Name)] = true
	}
	for _, v := range w.VMs {
		if v.Active() {
			w.guestViolations(v, bridges, wrong)
		}
	}
	owners := map[string]string{}
	for _, b := range w.Bindings {
		if b.IP == "" {
			continue
		}
		key := pair(b.L3, b.IP)
		if other, taken := owners[key]; taken && other != b.NIC {
			wrong("address %s of L3 network %s: NICs %s and %s have it", b.IP, b.L3, min(other, b.NIC), max(other, b.NIC))
		}
		owners[key] = b.NIC
	}
	slices.Sort(out)
	return out
}

func (w *World) guestViolations(v *VM, bridges map[string]bool, wrong func(string, ...any)) {
	if h := w.Hosts[v.Host]; h == nil || !h.Connected {
		wrong("VM %s: %s on host %s, which is not connected", v.UUID, v.State, v.Host)
	}
	for _, d := range v.Disks {
		if d.Path != "" && w.Volumes[d.Path] == nil && w.Cache[d.Path] == nil {
			wrong("VM %s: its disk %s is gone", v.UUID, d.Path)
		}
	}
	for i, n := range v.NICs {
		if slices.ContainsFunc(v.NICs[:i], func(o NIC) bool { return o.UUID == n.UUID }) {
			wrong("VM %s: it has NIC %s twice", v.UUID, n.UUID)
		}
		if !bridges[pair(v.Host, n.Bridge)] {
			wrong("VM %s: its bridge %s is gone", v.UUID, n.Bridge)
		}
	}
}
