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

// Prepare makes the services of NICs work on a host, and takes over what is
// known of their networks. Errors: Unavailable for a host that is not
// connected; Exists when an address is another NIC's; Invalid for a bridge that
// nobody has made and for a NIC of a network that is not in networks.
func (l *Live) Prepare(host string, networks []Network, bindings []Binding) error {
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		return l.prepare(host, networks, bindings, nil)
	})
}

// Sync replaces all that the services have on a host. Errors as for Prepare.
func (l *Live) Sync(host string, networks []Network, bindings []Binding) error {
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		var changes []entry
		keep := map[string]bool{}
		for i := range bindings {
			keep[bindings[i].NIC] = true
		}
		dropped := map[string]bool{}
		for _, nic := range slices.Sorted(maps.Keys(l.x.bindings[host])) {
			if !keep[nic] {
				dropped[nic] = true
				changes = append(changes, without(kindBinding, pair(host, nic)))
			}
		}
		stays := map[string]bool{}
		for i := range networks {
			stays[networks[i].L3] = true
		}
		for _, n := range l.w.Networks {
			if n.Host == host && !stays[n.L3] {
				changes = append(changes, without(kindNetwork, pair(host, n.L3)))
			}
		}
		added, err := l.prepare(host, networks, bindings, dropped)
		return append(changes, added...), err
	})
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

// Release undoes Prepare for NICs; those that are gone are a success.
func (l *Live) Release(host string, nics []string) error {
	return l.do(func() ([]entry, error) {
		var changes []entry
		for _, nic := range nics {
			if l.w.Bindings[pair(host, nic)] != nil {
				changes = append(changes, without(kindBinding, pair(host, nic)))
			}
		}
		return changes, nil
	})
}

// ReleaseNetwork removes what the services keep for an L3 network on a host.
func (l *Live) ReleaseNetwork(host, l3 string) error {
	return l.do(func() ([]entry, error) {
		var changes []entry
		for nic := range l.x.bindings[host] {
			if key := pair(host, nic); l.w.Bindings[key].L3 == l3 {
				changes = append(changes, without(kindBinding, key))
			}
		}
		if l.w.Networks[pair(host, l3)] != nil {
			changes = append(changes, without(kindNetwork, pair(host, l3)))
		}
		return changes, nil
	})
}
