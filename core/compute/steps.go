package compute

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The steps that several flows share. They work on what the flows have in
// common, and all can be repeated.

const hour = time.Hour

// on are the states of flows that embed a guest.
type on[S any] interface {
	*S
	common() *guest
}

func (g *guest) common() *guest { return g }

// do makes a step that needs the guest only one of a flow with a state of its
// own.
func do[S any, P on[S]](f func(context.Context, *guest) error) func(context.Context, *S) error {
	return func(ctx context.Context, st *S) error { return f(ctx, P(st).common()) }
}

// doTx is do for steps within a transaction.
func doTx[S any, P on[S]](f func(context.Context, *store.Tx, *guest) error) func(context.Context, *store.Tx, *S) error {
	return func(ctx context.Context, tx *store.Tx, st *S) error { return f(ctx, tx, P(st).common()) }
}

// flowOf are the options of a flow on a guest; c is nil, or the call whose job
// ends with it.
func flowOf(c *action.Call, uuid string) flow.Options {
	o := flow.Options{Key: uuid, ResourceType: VMType.Name, ResourceUUID: uuid}
	if c != nil {
		o.Job = c.Job
	}
	return o
}

// reserve takes CPU and memory of the guest's host.
func (s *Service) reserve(ctx context.Context, tx *store.Tx, g *guest, t *seat) error {
	if err := s.hosts.Reserve(ctx, tx, g.Host, g.room(t.MaxGuests)); err != nil {
		return err
	}
	t.Taken = true
	return nil
}

// unreserve gives them back.
func (s *Service) unreserve(ctx context.Context, tx *store.Tx, g *guest, t *seat) error {
	if !t.Taken {
		return nil
	}
	t.Taken = false
	return s.hosts.Return(ctx, tx, g.Host, g.room(t.MaxGuests))
}

// setState returns a step that moves the guest by an event.
func (s *Service) setState(ev string) func(context.Context, *store.Tx, *guest) error {
	return func(ctx context.Context, tx *store.Tx, g *guest) error { return s.move(ctx, tx, g.UUID, ev, nil) }
}

// restoreState returns the guest to its state before the flow. What failed on
// the host may have happened nevertheless, so the host is asked then.
func (s *Service) restoreState(ctx context.Context, tx *store.Tx, g *guest) error {
	if host, uuid := g.Host, g.UUID; host != "" {
		tx.OnCommit(func() { s.settleSoon(ctx, host, uuid) })
	}
	_, err := tx.Exec(ctx, "UPDATE `VmInstance` SET `state` = ? WHERE `uuid` = ?", g.State, g.UUID)
	return err
}

// prepareNetwork makes the network services work for the guest.
func (s *Service) prepareNetwork(ctx context.Context, g *guest) error {
	h, err := s.host(ctx, g)
	if err != nil {
		return err
	}
	return s.networks.Prepare(ctx, h, g.Told, g.NICs)
}

// releaseNetwork undoes prepareNetwork.
func (s *Service) releaseNetwork(ctx context.Context, g *guest) error {
	if g.Host == "" {
		return nil
	}
	h, err := s.host(ctx, g)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // the host took its network state with it
	}
	if err != nil {
		return err
	}
	return s.networks.Release(ctx, h, g.UUID, g.NICs)
}

// onHost makes a call about the guest to the plugin of its host. what is what
// the error says cannot be done.
func (s *Service) onHost(ctx context.Context, g *guest, what string, call func(*plugin.Hypervisor, *pluginv1.Host) error) error {
	h, err := s.host(ctx, g)
	if err != nil {
		return err
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return err
	}
	if err := call(hv, h); err != nil {
		return errs.Wrap(errs.ClassOf(err), "VM "+g.Name, err, "cannot be %s host %s", what, h.GetName())
	}
	return nil
}

// startOnHost starts the guest as specified.
func (s *Service) startOnHost(ctx context.Context, g *guest) error {
	return s.onHost(ctx, g, "started on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.StartVM(ctx, &pluginv1.StartVMRequest{Host: h, Vm: s.spec(ctx, g, hv)})
		return err
	})
}

// stopOnHost stops the guest on its host, if it has one: at once when cold, else
// it has grace seconds to shut down first.
func (s *Service) stopOnHost(ctx context.Context, g *guest, cold bool, grace int32) error {
	if g.Host == "" {
		return nil
	}
	return s.onHost(ctx, g, "stopped on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.StopVM(ctx, &pluginv1.StopVMRequest{Host: h, VmUuid: g.UUID, Cold: cold, GraceSeconds: grace})
		return err
	})
}

// cutPower ends the guest on its host at once, if it has one.
func (s *Service) cutPower(ctx context.Context, g *guest) error {
	err := s.stopOnHost(ctx, g, true, 0)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // the host is gone
	}
	return err
}

// destroyOnHost removes the guest from its host, if it has one.
func (s *Service) destroyOnHost(ctx context.Context, g *guest) error {
	if g.Host == "" {
		return nil
	}
	if _, err := s.host(ctx, g); errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	return s.onHost(ctx, g, "removed from", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.DestroyVM(ctx, &pluginv1.DestroyVMRequest{Host: h, VmUuid: g.UUID})
		return err
	})
}

// left records that a guest is no longer on its host: capacity returns, the last
// host is remembered, and ev sets the state, with other columns.
func (s *Service) left(ctx context.Context, tx *store.Tx, uuid, ev string, more map[string]any) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err != nil {
		return err
	}
	values := map[string]any{"hostUuid": nil}
	if vm.HostUUID != "" { // a repeat must not return the capacity twice
		values["lastHostUuid"] = vm.HostUUID
		if err := s.hosts.Return(ctx, tx, vm.HostUUID, contract.Room{CPU: vm.CPUNum, Memory: vm.MemorySize}); err != nil {
			return err
		}
	}
	for k, v := range more {
		values[k] = v
	}
	return s.move(ctx, tx, uuid, ev, values)
}

// remove takes a guest's own rows away; what is gone is a success.
func (s *Service) remove(ctx context.Context, tx *store.Tx, uuid string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `VmCdRom` WHERE `vmInstanceUuid` = ?", uuid); err != nil {
		return err
	}
	if err := s.problems.Forget(ctx, tx, uuid); err != nil {
		return err
	}
	if err := s.Tags.DeleteRow(ctx, tx, VMType.Type, uuid); err != nil {
		return err
	}
	return s.Cascade.Follow(ctx, tx, VMType.Name, uuid)
}
