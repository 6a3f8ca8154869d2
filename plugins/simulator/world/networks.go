package world

import (
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Realize makes a layer 2 network's bridge over a host's interface and returns
// its name. Errors: Unavailable for a host that is not connected; Exists while
// the interface is another network's.
func (l *Live) Realize(host, network, device string) (string, error) {
	if !IsUUID(network) {
		return "", badUUID("L2 network", network)
	}
	name := bridgeName(device)
	return name, l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		if b := l.w.Bridges[pair(host, network)]; b != nil && b.Name == name {
			return nil, nil
		}
		if l.x.bridges[pair(host, name)] > 0 {
			return nil, errs.New(errs.Exists, "L2 network "+network, "another network has bridge %s on host %s", name, host)
		}
		return []entry{{Bridge: &Bridge{Host: host, Network: network, Name: name}}}, nil
	})
}

func bridgeName(device string) string { return "br_" + device }

// Unrealize removes a network's bridge from a host; gone is a success. Errors:
// Refused while active guests are plugged in.
func (l *Live) Unrealize(host, network string) error {
	return l.do(func() ([]entry, error) {
		b := l.w.Bridges[pair(host, network)]
		if b == nil {
			return nil, nil
		}
		if n := l.x.plugged[pair(host, b.Name)]; n > 0 {
			return nil, errs.New(errs.Refused, "L2 network "+network, "%d NICs are plugged into it on host %s", n, host).
				WithAdvice("stop the VMs first")
		}
		return []entry{without(kindBridge, pair(host, network))}, nil
	})
}

// NetworkChange is what of the network services changes on a host: networks and
// bindings that come, or are other than they were, and those that go.
type NetworkChange struct {
	Networks               []Network
	Bindings               []Binding
	GoneNetworks, GoneNICs []string
}

// Apply changes what the services have on a host that is at base or at revision, and
// is at revision afterwards; stale says that it is at neither, and nothing was changed.
// Without a revision the change is made in any case. What is gone already is a success.
// Errors: Unavailable for a host that is not connected, where something comes; Exists
// when an address is another NIC's; Invalid for a bridge that nobody has made and for
// a NIC of a network that is not in the change.
func (l *Live) Apply(host, base, revision string, c NetworkChange) (stale bool, err error) {
	err = l.do(func() ([]entry, error) {
		if len(c.Networks)+len(c.Bindings) > 0 {
			if err := l.connected(host); err != nil {
				return nil, err
			}
		}
		h := l.w.Hosts[host]
		if revision != "" && h != nil && h.Revision != base && h.Revision != revision {
			stale = true
			return nil, nil
		}
		dropped := map[string]bool{}
		changes := l.drop(host, c, dropped)
		added, err := l.prepare(host, c.Networks, c.Bindings, dropped)
		changes = append(changes, added...)
		if revision != "" {
			changes = append(changes, at(h, revision)...)
		}
		return changes, err
	})
	return stale, err
}

// at is what makes a host be at a revision.
func at(h *Host, revision string) []entry {
	if h == nil || h.Revision == revision {
		return nil
	}
	moved := *h
	moved.Revision = revision
	return []entry{{Host: &moved}}
}

// drop returns the entries that take away what goes, and notes its NICs.
func (l *Live) drop(host string, c NetworkChange, dropped map[string]bool) []entry {
	var changes []entry
	for _, nic := range c.GoneNICs {
		dropped[nic] = true
	}
	for _, l3 := range c.GoneNetworks {
		for nic := range l.x.bindings[host] {
			if l.w.Bindings[pair(host, nic)].L3 == l3 {
				dropped[nic] = true
			}
		}
		if l.w.Networks[pair(host, l3)] != nil {
			changes = append(changes, without(kindNetwork, pair(host, l3)))
		}
	}
	for _, nic := range slices.Sorted(maps.Keys(dropped)) {
		if l.w.Bindings[pair(host, nic)] != nil {
			changes = append(changes, without(kindBinding, pair(host, nic)))
		}
	}
	return changes
}

// Sync replaces all that the services have on a host, which is at revision afterwards.
// It returns how much came or changed, and how much went. Errors as for Apply.
func (l *Live) Sync(host, revision string, networks []Network, bindings []Binding) (changed, removed int, err error) {
	err = l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		keep, stays := map[string]bool{}, map[string]bool{}
		for i := range bindings {
			keep[bindings[i].NIC] = true
		}
		for i := range networks {
			stays[networks[i].L3] = true
		}
		c := NetworkChange{}
		for nic := range l.x.bindings[host] {
			if !keep[nic] {
				c.GoneNICs = append(c.GoneNICs, nic)
			}
		}
		for _, n := range l.w.Networks {
			if n.Host == host && !stays[n.L3] {
				c.GoneNetworks = append(c.GoneNetworks, n.L3)
			}
		}
		dropped := map[string]bool{}
		changes := l.drop(host, c, dropped)
		added, err := l.prepare(host, networks, bindings, dropped)
		changed, removed = len(added), len(changes)
		return slices.Concat(changes, added, at(l.w.Hosts[host], revision)), err
	})
	return changed, removed, err
}

// prepare returns the entries that add networks and bindings; the NICs in
// dropped lose theirs on this host in the same change.
func (l *Live) prepare(host string, networks []Network, bindings []Binding, dropped map[string]bool) ([]entry, error) {
	var changes []entry
	for i := range networks {
		n := &networks[i]
		n.Host = host
		if !IsUUID(n.L3) {
			return nil, badUUID("L3 network", n.L3)
		}
		if n.Bridge != "" && l.x.bridges[pair(host, n.Bridge)] == 0 {
			return nil, errs.New(errs.Invalid, "L3 network "+n.L3, "no network was realized as bridge %q on host %s", n.Bridge, host)
		}
		if old := l.w.Networks[pair(host, n.L3)]; old == nil || old.Bridge != n.Bridge || !slices.Equal(old.Services, n.Services) || !slices.Equal(old.DNS, n.DNS) {
			changes = append(changes, entry{Network: n})
		}
	}
	taken := map[string]string{}
	for i := range bindings {
		b := &bindings[i]
		b.Host = host
		if !IsUUID(b.NIC) {
			return nil, badUUID("NIC", b.NIC)
		}
		if !slices.ContainsFunc(networks, func(n Network) bool { return n.L3 == b.L3 }) {
			return nil, errs.New(errs.Invalid, "NIC "+b.NIC, "its L3 network %s is not among the networks of the call", b.L3)
		}
		for _, address := range []string{b.IP, b.MAC} {
			if address == "" {
				continue
			}
			if other := l.owner(host, b.L3, address, dropped, taken); other != "" && other != b.NIC {
				return nil, errs.New(errs.Exists, "NIC "+b.NIC, "address %s of L3 network %s is NIC %s's", address, b.L3, other).
					WithAdvice("release that NIC first")
			}
			taken[pair(b.L3, address)] = b.NIC
		}
		if old := l.w.Bindings[pair(host, b.NIC)]; old == nil || *old != *b {
			changes = append(changes, entry{Binding: b})
		}
	}
	return changes, nil
}

// owner returns the NIC that has an address, "" for none.
func (l *Live) owner(host, l3, address string, dropped map[string]bool, taken map[string]string) string {
	key := pair(l3, address)
	if nic := taken[key]; nic != "" {
		return nic
	}
	c := l.x.claims[key]
	if dropped[c.nic] && c.hosts == 1 && l.w.Bindings[pair(host, c.nic)] != nil {
		return ""
	}
	return c.nic
}
