package dataplane

import "maps"

// This file computes what a network should be. A network has thousands of guests, of
// which a change is about one: where it is known what was made before, only what
// differs from that is parsed and written.

// networkState is all that a network should be.
type networkState struct {
	spec     networkSpec
	bindings map[string]binding // by their fragments' keys
	metadata guests
	// part is in which bindings the state differs from what was made before; nil when
	// that is not known.
	part *part
}

// part has the bindings that came and went; one that has changed did both.
type part struct{ came, went []binding }

// difference is in which keys a set differs from another.
type difference struct {
	from set
	keys []string
}

// changed are the bindings that may have to be written.
func (st networkState) changed() []binding {
	if st.part != nil {
		return st.part.came
	}
	all := make([]binding, 0, len(st.bindings))
	for _, b := range st.bindings {
		all = append(all, b)
	}
	return all
}

// add parses one fragment of the network; the set has been checked.
func (st *networkState) add(set set, key string) error {
	f, object := set[key], "fragment "+key
	switch {
	case f.GetDhcpNetwork() != nil:
		spec, err := parseNetwork(object, f.GetDhcpNetwork())
		st.spec = spec
		return err
	case f.GetDhcpBinding() != nil:
		b, err := parseBinding(object, f.GetDhcpBinding())
		if err != nil {
			return err
		}
		st.bindings[key] = b
		if st.part != nil {
			st.part.came = append(st.part.came, b)
		}
	case f.GetMetadata() != nil:
		ip, err := ParseIPv4(object, f.GetMetadata().GetIp())
		if err != nil {
			return err
		}
		st.metadata[ip] = f.GetMetadata()
	}
	return nil
}

// stateOf computes what the network should be by a set.
func (n *network) stateOf(s set, key string, d *difference) (networkState, error) {
	if !n.knows(s, key, d) {
		st := networkState{bindings: map[string]binding{}, metadata: guests{}}
		for _, f := range s.of(key) {
			if err := st.add(s, f.GetKey()); err != nil {
				return st, err
			}
		}
		return st, nil
	}
	st := networkState{spec: n.state.spec, bindings: maps.Clone(n.state.bindings), metadata: maps.Clone(n.state.metadata), part: &part{}}
	for _, k := range d.keys {
		if b, had := st.bindings[k]; had {
			st.part.went = append(st.part.went, b)
			delete(st.bindings, k)
		}
		if m := d.from[k].GetMetadata(); m != nil && m.GetNetworkKey() == key {
			ip, err := ParseIPv4("fragment "+k, m.GetIp())
			if err != nil {
				return st, err
			}
			delete(st.metadata, ip)
		}
	}
	for _, k := range d.keys {
		if k != key && networkKey(s[k]) == key {
			if err := st.add(s, k); err != nil {
				return st, err
			}
		}
	}
	return st, nil
}

// knows tells whether what was made before is known, and differs in guests alone.
func (n *network) knows(s set, key string, d *difference) bool {
	if d == nil || n.state == nil || n.written == nil || !same(s[key], d.from[key]) {
		return false
	}
	for _, k := range d.keys {
		if k != key && (!ofGuest(s[k]) || !ofGuest(d.from[k])) {
			return false
		}
	}
	return true
}
