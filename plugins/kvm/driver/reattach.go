package driver

import (
	"context"
	"errors"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// reattachInterval is how often a watch looks at guests that libvirtd has not
// found again.
const reattachInterval = time.Second

// endedSilently tells those of ours that have ended without an event. A libvirtd
// that was just started lists the guests of the one before and then reattaches
// to each; of a guest that ends before it has, it tells nothing. What is certain
// leaves unsure.
func endedSilently(ctx context.Context, s *slot, unsure, ours map[string]bool) ([]*pluginv1.VMStatus, error) {
	var ended []*pluginv1.VMStatus
	for uuid := range unsure {
		attached, err := isAttached(ctx, s, uuid)
		gone := hostlink.IsGone(err) || errors.Is(err, errs.Refused) // refused: a definition is left, made by hand
		if err != nil && !gone {
			return nil, err
		}
		if gone && ours[uuid] {
			delete(ours, uuid)
			ended = append(ended, &pluginv1.VMStatus{Uuid: uuid, State: pluginv1.VMState_VM_STATE_STOPPED})
		}
		if gone || attached {
			delete(unsure, uuid)
		}
	}
	return ended, nil
}

// isAttached reports whether libvirtd has the guest in its hands: while it
// reattaches, the guest is busy with that.
func isAttached(ctx context.Context, s *slot, uuid string) (bool, error) {
	id, err := domain.ParseUUID(uuid)
	if err != nil {
		return false, err
	}
	state, err := ask(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (uint32, error) {
		dom, err := l.DomainLookupByUUID(id)
		if err != nil {
			return 0, err
		}
		state, _, _, err := l.DomainGetControlInfo(dom, 0)
		return state, err
	})
	return libvirt.DomainControlState(state) == libvirt.DomainControlOk, err
}
