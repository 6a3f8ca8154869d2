package dataplane

import (
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// set holds the fragments of one owner by key.
type set map[string]*hostv1.Fragment

// networkKey names the network that a fragment belongs to: itself for a
// network, "" for a bridge.
func networkKey(f *hostv1.Fragment) string {
	switch {
	case f.GetDhcpNetwork() != nil:
		return f.GetKey()
	case f.GetDhcpBinding() != nil:
		return f.GetDhcpBinding().GetNetworkKey()
	case f.GetMetadata() != nil:
		return f.GetMetadata().GetNetworkKey()
	}
	return ""
}

// without returns a copy in which the keys are gone, and with each network all
// that belongs to it.
func (s set) without(keys []string) set {
	next := maps.Clone(s)
	for _, key := range keys {
		f := s[key]
		delete(next, key)
		if f.GetDhcpNetwork() == nil {
			continue
		}
		maps.DeleteFunc(next, func(_ string, f *hostv1.Fragment) bool { return networkKey(f) == key })
	}
	return next
}

// evict drops what is not in newer and has an address or MAC that a fragment in
// newer has on the same network. Those in newer may still clash: then the caller
// contradicts itself, which checkSet refuses.
func (s set) evict(newer set) {
	wanted := map[string]bool{}
	for key, f := range newer {
		if s[key] == nil {
			continue // it was removed by the same call
		}
		for _, name := range guestNames(f) {
			wanted[name] = true
		}
	}
	maps.DeleteFunc(s, func(key string, f *hostv1.Fragment) bool {
		return newer[key] == nil && slices.ContainsFunc(guestNames(f), func(name string) bool { return wanted[name] })
	})
}

// guestNames are what of a fragment must be its own within its network.
func guestNames(f *hostv1.Fragment) []string {
	network := networkKey(f)
	if b := f.GetDhcpBinding(); b != nil {
		mac := b.GetMac()
		if parsed, err := parseMAC("", mac); err == nil { // it was checked before
			mac = parsed.String()
		}
		return []string{network + " MAC " + mac, network + " address " + b.GetIp()}
	}
	if m := f.GetMetadata(); m != nil {
		return []string{network + " metadata address " + m.GetIp()}
	}
	return nil
}

// sortedKeys gives every run the same order.
func (s set) sortedKeys() []string { return slices.Sorted(maps.Keys(s)) }

// of returns the fragments of one network, sorted by key.
func (s set) of(network string) []*hostv1.Fragment {
	var out []*hostv1.Fragment
	for _, key := range s.sortedKeys() {
		if networkKey(s[key]) == network {
			out = append(out, s[key])
		}
	}
	return out
}

// claims makes sure that a name, address or device is used once.
type claims map[string]string

func (c claims) take(kind, value, key string) error {
	if other, taken := c[kind+" "+value]; taken && other != key {
		return errs.New(errs.Exists, "fragment "+key, "%s %s is already used by fragment %s", kind, value, other)
	}
	c[kind+" "+value] = key
	return nil
}

// checkSet refuses sets whose fragments do not fit together: names used twice,
// bindings with the IP or MAC of another (dnsmasq would not start), addresses
// outside of their network, networks that do not exist. others are the sets of
// all other owners, for names that are unique on the machine.
func checkSet(owner string, s set, others map[string]set) error {
	failures := misfits(owner, s, others)
	if len(failures) == 0 {
		return nil
	}
	return failures[0].Err
}

// misfits are the fragments that checkSet refuses. Of two that want one thing
// the later key is the misfit.
func misfits(owner string, s set, others map[string]set) (failures []Failure) {
	machine := claims{}
	for name, other := range others {
		if name == owner {
			continue
		}
		for _, f := range other {
			// They were checked when they came, so no clash can be new.
			_ = claimNames(machine, name+"/"+f.GetKey(), f)
			if p := f.GetFilterPort(); p != nil {
				_ = machine.take("filtered device", p.GetDevice(), name+"/"+f.GetKey())
			}
		}
	}
	guests := claims{}
	for _, key := range s.sortedKeys() {
		err := claimNames(machine, key, s[key])
		if err == nil {
			err = claimGuest(guests, s, s[key])
		}
		if err == nil && filter.Is(s[key]) {
			err = claimFilter(machine, guests, s, s[key])
		}
		if err != nil {
			failures = append(failures, Failure{key, err})
		}
	}
	return failures
}

func claimNames(c claims, key string, f *hostv1.Fragment) error {
	if b := f.GetBridge(); b != nil {
		if err := c.take("bridge", b.GetName(), key); err != nil {
			return err
		}
		if b.GetUplink() != "" {
			return c.take("uplink", uplinkOf(b), key)
		}
	}
	if n := f.GetDhcpNetwork(); n != nil {
		return c.take("namespace", n.GetNamespace(), key)
	}
	return nil
}

func claimGuest(c claims, s set, f *hostv1.Fragment) error {
	object := "fragment " + f.GetKey()
	network := networkKey(f)
	if network == "" || network == f.GetKey() {
		return nil
	}
	n := s[network].GetDhcpNetwork()
	if n == nil {
		return errs.New(errs.NotFound, object, "its network %s does not exist", network).
			WithAdvice("apply the network in the same call or before")
	}
	spec, err := parseNetwork("fragment "+network, n)
	if err != nil {
		return err
	}
	text := f.GetMetadata().GetIp()
	kind := "metadata address"
	if b := f.GetDhcpBinding(); b != nil {
		text, kind = b.GetIp(), "address"
		mac, err := parseMAC(object, b.GetMac())
		if err != nil {
			return err
		}
		if err := c.take(network+" MAC", mac.String(), f.GetKey()); err != nil {
			return err
		}
	}
	ip, err := ParseIPv4(object, text)
	if err != nil {
		return err
	}
	if !spec.cidr.Contains(ip) {
		return errs.New(errs.Invalid, object, "address %s is not in network %s", ip, spec.cidr)
	}
	if ip == spec.address.Addr() {
		return errs.New(errs.Invalid, object, "address %s is that of the DHCP service", ip)
	}
	return c.take(network+" "+kind, ip.String(), f.GetKey())
}
