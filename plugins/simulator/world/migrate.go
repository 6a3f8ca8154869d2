package world

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// MigrateVM moves a guest that is active on the host source to v.Host, as v says, in one;
// it keeps its state. One that is active there already stays as it is. Errors: as for
// StartVM; NotFound and Refused for one that is not active on source; that of ctx, when
// it has ended before.
func (l *Live) MigrateVM(ctx context.Context, source string, v VM) (State, error) {
	v.State = Running
	if err := checkVM(&v); err != nil {
		return "", err
	}
	err := l.do(func() ([]entry, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, host := range []string{source, v.Host} {
			if err := l.connected(host); err != nil {
				return nil, err
			}
		}
		old := l.w.VMs[v.UUID]
		switch {
		case old == nil:
			return nil, errs.New(errs.NotFound, "VM "+v.UUID, "not on host %s", source)
		case !old.Active():
			return nil, errs.New(errs.Refused, "VM "+v.UUID, "it is %s", old.State).WithAdvice("start it first")
		case old.Host == v.Host:
			v.State = old.State
			return nil, nil
		case old.Host != source:
			return nil, errs.New(errs.Refused, "VM "+v.UUID, "it is %s on host %s, not %s", old.State, old.Host, source)
		}
		v.State = old.State
		if err := l.fits(&v, nil); err != nil {
			return nil, err
		}
		return []entry{{VM: &v}}, nil
	})
	return v.State, err
}

// Migrated tells whether a guest is on the host target and not on source, between which
// it may have moved.
func (l *Live) Migrated(source, target, vm string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, host := range []string{source, target} {
		if err := l.connected(host); err != nil {
			return false, err
		}
	}
	v := l.w.VMs[vm]
	return v != nil && v.Host == target, nil
}
