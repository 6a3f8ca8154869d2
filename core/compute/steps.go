package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The steps that several flows share. All can be repeated.

// reserve takes CPU and memory of the flow's host.
func (s *Service) reserve(ctx context.Context, tx *store.Tx, w *work) error {
	if err := s.hosts.Reserve(ctx, tx, w.Host.UUID, w.room()); err != nil {
		return err
	}
	w.Capacity = true
	return nil
}

// unreserve gives them back.
func (s *Service) unreserve(ctx context.Context, tx *store.Tx, w *work) error {
	if !w.Capacity {
		return nil
	}
	w.Capacity = false
	return s.hosts.Return(ctx, tx, w.Host.UUID, w.room())
}

// setState returns a step that moves the guest by an event.
func (s *Service) setState(ev string) func(ctx context.Context, tx *store.Tx, w *work) error {
	return func(ctx context.Context, tx *store.Tx, w *work) error { return s.move(ctx, tx, w.UUID, ev, nil) }
}

// restoreState returns the guest to its state before the flow. What failed on
// the host may have happened nevertheless, so the host is asked then.
func (s *Service) restoreState(ctx context.Context, tx *store.Tx, w *work) error {
	if host := w.Host.UUID; host != "" {
		tx.OnCommit(func() { s.settleSoon(ctx, host, w.UUID) })
	}
	_, err := tx.Exec(ctx, "UPDATE `VmInstance` SET `state` = ? WHERE `uuid` = ?", w.Before, w.UUID)
	return err
}

// prepareNetwork makes the network services work for the guest.
func (s *Service) prepareNetwork(ctx context.Context, w *work) error {
	h, err := s.host(ctx, w)
	if err != nil {
		return err
	}
	return s.networks.Prepare(ctx, h, w.Guest, w.NICs)
}

// releaseNetwork undoes prepareNetwork.
func (s *Service) releaseNetwork(ctx context.Context, w *work) error {
	if w.Host.UUID == "" {
		return nil
	}
	h, err := s.host(ctx, w)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // the host took its network state with it
	}
	if err != nil {
		return err
	}
	return s.networks.Release(ctx, h, w.UUID, w.NICs)
}

// onHost makes a call about the guest to the plugin of its host. what is what
// the error says cannot be done.
func (s *Service) onHost(ctx context.Context, w *work, what string, call func(*plugin.Hypervisor, *pluginv1.Host) error) error {
	h, err := s.host(ctx, w)
	if err != nil {
		return err
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return err
	}
	if err := call(hv, h); err != nil {
		return errs.Wrap(errs.ClassOf(err), "VM "+w.Name, err, "cannot be %s host %s", what, h.GetName())
	}
	return nil
}

// startOnHost starts the guest as specified.
func (s *Service) startOnHost(ctx context.Context, w *work) error {
	return s.onHost(ctx, w, "started on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.StartVM(ctx, &pluginv1.StartVMRequest{Host: h, Vm: w.spec()})
		return err
	})
}

// unstartOnHost undoes startOnHost of a guest that was there before the flow. The
// host that it ran on last had something of it already, such as its firmware's
// boot entries: that stays.
func (s *Service) unstartOnHost(ctx context.Context, w *work) error {
	if w.Host.UUID != w.LastHost {
		return s.destroyOnHost(ctx, w)
	}
	return s.cutPower(ctx, w)
}

// cutPower ends the guest on its host at once, if it has one.
func (s *Service) cutPower(ctx context.Context, w *work) error {
	cold := *w
	cold.Cold = true
	err := s.stopOnHost(ctx, &cold)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // the host is gone
	}
	return err
}

// destroyOnHost removes the guest from its host, if it has one.
func (s *Service) destroyOnHost(ctx context.Context, w *work) error {
	if w.Host.UUID == "" {
		return nil
	}
	if _, err := s.host(ctx, w); errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	return s.onHost(ctx, w, "removed from", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.DestroyVM(ctx, &pluginv1.DestroyVMRequest{Host: h, VmUuid: w.UUID})
		return err
	})
}

// left records that the guest is no longer on its host: capacity returns, the
// last host is remembered, and ev sets the state.
func (s *Service) left(ctx context.Context, tx *store.Tx, w *work, ev string, more map[string]any) error {
	values := map[string]any{"hostUuid": nil}
	if w.Host.UUID != "" {
		values["lastHostUuid"] = w.Host.UUID
	}
	for k, v := range more {
		values[k] = v
	}
	vm, err := store.Get(ctx, tx, VMType, w.UUID)
	if err != nil {
		return err
	}
	if vm.HostUUID != "" { // a repeat must not return the capacity twice
		if err := s.hosts.Return(ctx, tx, vm.HostUUID, contract.Room{CPU: vm.CPUNum, Memory: vm.MemorySize}); err != nil {
			return err
		}
	}
	return s.move(ctx, tx, w.UUID, ev, values)
}
