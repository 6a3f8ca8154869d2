package world

import (
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// AttachNIC plugs a card into an active guest; one that it has already stays as it is.
// Errors: Unavailable for a host that is not connected, Refused for a guest that is not
// active there or a MAC that is another's, Invalid for a bridge or a NIC that nobody
// has made.
func (l *Live) AttachNIC(host, vm string, n NIC) error {
	if !IsUUID(n.UUID) {
		return badUUID("NIC", n.UUID)
	}
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		v := l.x.vmsOf[host][vm]
		if !v.Active() {
			return nil, errs.New(errs.Refused, "VM "+vm, "it does not run on host %s", host).WithAdvice("start it first")
		}
		if slices.ContainsFunc(v.NICs, func(has NIC) bool { return has.UUID == n.UUID }) {
			return nil, nil
		}
		if err := l.pluggable(v, &n); err != nil {
			return nil, err
		}
		changed := *v
		changed.NICs = append(slices.Clip(v.NICs), n)
		return []entry{{VM: &changed}}, nil
	})
}

// DetachNIC pulls a card out of a guest; what is not there is a success.
func (l *Live) DetachNIC(host, vm, nic string) error {
	return l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		v := l.x.vmsOf[host][vm]
		if v == nil {
			return nil, nil
		}
		left := slices.DeleteFunc(slices.Clone(v.NICs), func(has NIC) bool { return has.UUID == nic })
		if len(left) == len(v.NICs) {
			return nil, nil
		}
		changed := *v
		changed.NICs = left
		return []entry{{VM: &changed}}, nil
	})
}
