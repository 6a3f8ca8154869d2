package compute

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"golang.org/x/sync/errgroup"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file keeps the database true to what hosts report (spec section 1.3).
// A report is only a hint: before it changes a guest, the guest's queue is
// waited for, so that no operation is running, and the host is asked again.

// syncTimeout bounds the handling of one report.
const syncTimeout = 2 * time.Minute

// events are those by which a guest comes to a state that hosts report.
var events = map[string]string{Running: "running", Paused: "paused", Crashed: "crashed"}

var reported = map[pluginv1.VMState]string{
	pluginv1.VMState_VM_STATE_RUNNING: Running,
	pluginv1.VMState_VM_STATE_PAUSED:  Paused,
	pluginv1.VMState_VM_STATE_STOPPED: Stopped,
	pluginv1.VMState_VM_STATE_CRASHED: Crashed,
}

// observeHosts has this service told of hosts.
func (s *Service) observeHosts() {
	hook.On(s.Hooks, contract.HostConnected, s.HostConnected)
	hook.On(s.Hooks, contract.HostLost, func(ctx context.Context, uuid string) error { s.HostLost(ctx, uuid); return nil })
	hook.On(s.Hooks, contract.HostReported, func(ctx context.Context, r contract.HostReport) error {
		s.HostVMs(ctx, r.HostUUID, r.Guests, r.Complete)
		return nil
	})
	hook.On(s.Hooks, contract.HostEmptying, s.EmptyHost)
	hook.On(s.Hooks, contract.HostLeaving, s.HostLeaving)
}

// HostConnected restores the network services of the guests on a host
// (contract.HostConnected).
func (s *Service) HostConnected(ctx context.Context, h *pluginv1.Host) error {
	return s.RestoreNetworks(ctx, h)
}

// RestoreNetworks makes the network services on a host those of its guests
// (contract.Guests). Operations on guests go on meanwhile: what they
// prepare or release between the reading of the guests and the restoring would
// be undone by it, so guests that move are looked at again when they have
// come to rest.
func (s *Service) RestoreNetworks(ctx context.Context, h *pluginv1.Host) error {
	vms, err := s.statesOf(ctx, "`hostUuid` = ?", h.GetUuid())
	if err != nil {
		return err
	}
	states := make(map[string]string, len(vms))
	restored := make(map[string][]*contract.NICPlan, len(vms))
	guests := make([]contract.GuestNICs, 0, len(vms))
	var damaged []string
	unread := map[string]bool{}
	for _, uuid := range slices.Sorted(maps.Keys(vms)) {
		if s.Flows.Undoing(uuid) {
			continue // it gets nothing back that may have been taken from it already
		}
		_, g, err := s.load(ctx, s.Store, uuid)
		switch {
		case errs.ClassOf(err) == errs.NotFound:
			continue
		case errors.Is(err, store.ErrDamaged): // what else is on the host is served all the same
			s.Log.Error("guest cannot be read, its network services are not restored", "vm", uuid, "host", h.GetUuid(), "error", err)
			damaged, unread[uuid] = append(damaged, "guest "+uuid+": "+err.Error()), true
			continue
		case err != nil:
			return err
		}
		states[uuid], restored[uuid] = vms[uuid], g.NICs
		guests = append(guests, contract.GuestNICs{Guest: g.Told, NICs: g.NICs})
	}
	s.hosts.Checked(ctx, h.GetUuid(), contract.HostCheck{Name: checkGuests, Reason: strings.Join(damaged, "; ")})
	if err := s.networks.Sync(ctx, h, guests); err != nil {
		return err
	}
	plugged, err := s.networks.Plugged(ctx, s.Store, slices.Collect(maps.Keys(restored)))
	if err != nil {
		return err
	}
	vms, err = s.statesOf(ctx, "`hostUuid` = ? OR (`hostUuid` IS NULL AND `state` = ?) OR `state` = ?", h.GetUuid(), Starting, Migrating)
	if err != nil {
		return err
	}
	for uuid, state := range vms {
		same := slices.EqualFunc(plugged[uuid], restored[uuid], func(nic string, n *contract.NICPlan) bool { return nic == n.UUID })
		if state == states[uuid] && atRest(state) && same || unread[uuid] {
			delete(states, uuid)
		} else {
			states[uuid] = state
		}
	}
	for uuid := range states {
		s.restoreLater(ctx, h, uuid, restored[uuid])
	}
	return nil
}

// checkGuests is what is looked at of a host's guests, among its checks.
const checkGuests = "guests"

// statesOf returns the states of guests by uuid. It reads no more of them, so that
// one that is damaged stops nothing.
func (s *Service) statesOf(ctx context.Context, where string, args ...any) (map[string]string, error) {
	states := map[string]string{}
	return states, s.Store.Each(ctx, "SELECT `uuid`, `state` FROM `VmInstance` WHERE "+where, args, func(r *store.Row) error {
		states[r.Text(0)] = r.Text(1)
		return nil
	})
}

// atRest reports whether no operation that touches the world can be running on
// a guest in this state.
func atRest(state string) bool {
	switch state {
	case Running, Paused, Stopped, Destroyed, Unknown, Crashed, NoState:
		return true
	}
	return false
}

// Places tells where guests are (contract.Guests).
func (s *Service) Places(ctx context.Context, q store.Querier, vmUUIDs []string, f func(contract.GuestPlace)) error {
	const page = 500
	for len(vmUUIDs) > 0 {
		some := vmUUIDs[:min(len(vmUUIDs), page)]
		vmUUIDs = vmUUIDs[len(some):]
		err := q.Each(ctx, "SELECT `uuid`, `name`, `clusterUuid`, `hostUuid` FROM `VmInstance` WHERE `uuid` IN (?) AND `hostUuid` IS NOT NULL", []any{some}, func(r *store.Row) error {
			f(contract.GuestPlace{VMUUID: r.Text(0), Name: r.Text(1), ClusterUUID: r.Text(2), HostUUID: r.Text(3)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// RestoreNetwork makes the network services on a host fit a guest, after what
// waits in its queue (contract.Guests).
func (s *Service) RestoreNetwork(ctx context.Context, h *pluginv1.Host, vmUUID string) {
	nics, err := s.networks.OfVM(ctx, s.Store, vmUUID)
	if err != nil {
		s.Log.Warn("network services not restored", "vm", vmUUID, "host", h.GetUuid(), "error", err)
		return
	}
	s.restoreLater(ctx, h, vmUUID, nics)
}

// restoreLater asks for the restoring of a guest's network services on the host.
func (s *Service) restoreLater(ctx context.Context, h *pluginv1.Host, uuid string, nics []*contract.NICPlan) {
	s.generic.Ask(ctx, uuid, restoreMessage, map[string]any{"uuid": uuid, "hostUuid": h.GetUuid(), "nics": nics}) // or the next connect of the host does it
}

// restore makes the network services on a host fit a guest, when what ran on
// the guest has ended. What was given back of NICs that it has no longer is taken away
// again.
func (s *Service) restore(ctx context.Context, p *restoreParams) error {
	h, err := s.hosts.PluginHost(ctx, s.Store, p.Host)
	if err != nil {
		return err
	}
	undone := s.Flows.Finish(ctx, p.UUID, false)
	vm, g, err := s.load(ctx, s.Store, p.UUID)
	switch {
	case errs.ClassOf(err) == errs.NotFound, undone != nil && s.Flows.Undoing(p.UUID):
		return s.letGo(ctx, h, p.UUID, p.NICs)
	case err != nil:
		return err
	case vm.HostUUID == p.Host:
		if err := s.letGo(ctx, h, p.UUID, without(p.NICs, g.NICs)); err != nil {
			return err
		}
		return s.networks.Prepare(ctx, h, g.Told, g.NICs)
	}
	return s.letGo(ctx, h, p.UUID, g.NICs)
}

// HostLost makes the state of a lost host's guests Unknown
// (contract.HostLost).
func (s *Service) HostLost(ctx context.Context, hostUUID string) {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE `VmInstance` SET `state` = ? WHERE `hostUuid` = ? AND `state` IN (?)", Unknown, hostUUID,
			[]string{Running, Paused, NoState, Crashed})
		return err
	})
	if err != nil {
		s.Log.Error("guests of lost host not marked", "host", hostUUID, "error", err)
	}
}

// HostLeaving removes what a host keeps of the guests that ran on it last; the
// cascade has stopped those that ran (contract.HostLeaving).
func (s *Service) HostLeaving(ctx context.Context, h *pluginv1.Host) error {
	uuids, err := store.Texts(ctx, s.Store, "SELECT `uuid` FROM `VmInstance` WHERE `lastHostUuid` = ? AND `hostUuid` IS NULL", h.GetUuid())
	if err != nil {
		return err
	}
	for _, uuid := range uuids {
		g := &guest{UUID: uuid, Name: uuid, Host: h.GetUuid(), pluginHost: h}
		if err := s.destroyOnHost(ctx, g); err != nil {
			return err
		}
	}
	return s.problems.ForgetHost(ctx, h.GetUuid())
}

// EmptyHost stops the running guests of a host before maintenance
// (contract.HostEmptying).
func (s *Service) EmptyHost(ctx context.Context, hostUUID string) error {
	uuids, err := store.Texts(ctx, s.Store, "SELECT `uuid` FROM `VmInstance` WHERE `hostUuid` = ? AND `state` IN (?)", hostUUID,
		[]string{Running, Paused, Crashed, NoState})
	if err != nil {
		return err
	}
	return s.StopGuests(ctx, uuids)
}

// StopGuests stops guests, each in its queue, so that one which is being started is
// stopped afterwards (contract.Guests).
func (s *Service) StopGuests(ctx context.Context, vmUUIDs []string) error {
	const atOnce = 256
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, uuid := range vmUUIDs {
		all.Go(func() error {
			_, err := s.Actions.DoSystem(ctx, emptyMessage, map[string]any{"uuid": uuid})
			if c := errs.ClassOf(err); c == errs.NotFound || c == errs.Refused {
				return nil // it went, or stopped, meanwhile
			}
			return err
		})
	}
	return all.Wait()
}

// HostVMs compares what a host reports with the database and looks closer at
// the guests that differ (contract.HostReported).
func (s *Service) HostVMs(ctx context.Context, hostUUID string, vms []*pluginv1.VMStatus, complete bool) {
	s.problems.Note(ctx, hostUUID, problemsOf(vms), complete)
	if !complete && s.ownDoing(vms) {
		return
	}
	differ, err := s.compare(ctx, hostUUID, vms, complete)
	if err != nil {
		s.Log.Error("guests not compared", "host", hostUUID, "error", err)
		return
	}
	for _, uuid := range differ {
		s.settleSoon(ctx, hostUUID, uuid)
	}
}

// ownDoing tells of a single report whether a guest runs that is being worked on:
// that is what most work on a guest ends with, and the next full list of the host
// tells it again.
func (s *Service) ownDoing(vms []*pluginv1.VMStatus) bool {
	return len(vms) == 1 && vms[0].GetState() == pluginv1.VMState_VM_STATE_RUNNING && s.Flows.Running(vms[0].GetUuid())
}

// settleSoon settles the state of a guest after what runs or waits in its queue.
func (s *Service) settleSoon(ctx context.Context, hostUUID, uuid string) {
	s.generic.Ask(ctx, uuid, settleMessage, map[string]any{"uuid": uuid, "hostUuid": hostUUID}) // or the next full list of the host tells it again
}

// expected is a guest as the database has it.
type expected struct{ state, host string }

// differs tells whether it is not what a host reports. A guest in a passing state
// has an operation of its own running and is left alone.
func (e expected) differs(hostUUID, now string) bool {
	switch e.state {
	case Running, Paused, Unknown, Stopped, Crashed, NoState, Destroyed:
		same := e.state == now || e.state == Destroyed && now == Stopped
		return !same || now != Stopped && e.host != hostUUID
	}
	return false
}

// compare returns the guests whose reported state is not the one expected.
func (s *Service) compare(ctx context.Context, hostUUID string, vms []*pluginv1.VMStatus, complete bool) ([]string, error) {
	told := make(map[string]string, len(vms))
	uuids := make([]string, len(vms))
	for i, v := range vms {
		told[v.GetUuid()], uuids[i] = reported[v.GetState()], v.GetUuid()
	}
	known, err := s.expectedOf(ctx, uuids)
	if err != nil {
		return nil, err
	}
	var differ, strangers []string
	for _, uuid := range uuids {
		if e, ok := known[uuid]; !ok {
			strangers = append(strangers, uuid)
		} else if e.differs(hostUUID, told[uuid]) {
			differ = append(differ, uuid)
		}
	}
	forgotten, err := s.forgotten(ctx, hostUUID, strangers)
	if err != nil {
		return nil, err
	}
	differ = append(differ, forgotten...)
	if !complete {
		return differ, nil
	}
	return differ, s.Store.Each(ctx, expectedSQL+"`hostUuid` = ?", []any{hostUUID}, func(r *store.Row) error {
		uuid, e := expectedFrom(r)
		if _, ok := told[uuid]; !ok && e.differs(hostUUID, Stopped) {
			differ = append(differ, uuid)
		}
		return nil
	})
}

const expectedSQL = "SELECT `uuid`, `state`, `hostUuid` FROM `VmInstance` WHERE "

func expectedFrom(r *store.Row) (string, expected) { return r.Text(0), expected{r.Text(1), r.Text(2)} }

// expectedOf reads guests by uuid; those that are unknown are missing. Hosts tell
// of one guest after the other, and many do at the same moment.
func (s *Service) expectedOf(ctx context.Context, uuids []string) (map[string]expected, error) {
	if len(uuids) == 1 {
		return s.reports.Do(ctx, VMType.Name, uuids[0], func(uuids []string) (map[string]expected, error) { return s.expectedNow(ctx, uuids) })
	}
	return s.expectedNow(ctx, uuids)
}

func (s *Service) expectedNow(ctx context.Context, uuids []string) (map[string]expected, error) {
	const page = 500
	known := make(map[string]expected, len(uuids))
	for some := range slices.Chunk(uuids, page) {
		err := s.Store.Each(ctx, expectedSQL+"`uuid` IN (?)", []any{some}, func(r *store.Row) error {
			uuid, e := expectedFrom(r)
			known[uuid] = e
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// forgotten returns those of a host's guests that are not in the database of which
// there is still something to do. Nothing is done to others.
func (s *Service) forgotten(ctx context.Context, hostUUID string, strangers []string) ([]string, error) {
	const page = 500
	var all []string
	for some := range slices.Chunk(strangers, page) {
		ours, err := s.Cascade.LeftAmong(ctx, VMType.Name, some)
		if err != nil {
			return nil, err
		}
		all = append(all, ours...)
	}
	for _, uuid := range strangers {
		if !slices.Contains(all, uuid) {
			s.Log.Warn("host has a guest that is not ours", "host", hostUUID, "vm", uuid)
		}
	}
	return all, nil
}

// settle runs in the guest's queue: it asks the host again and makes the
// database agree.
func (s *Service) settle(ctx context.Context, hostUUID, uuid string) error {
	if err := s.Flows.Finish(ctx, uuid, false); err != nil {
		return err
	}
	vm, g, err := s.load(ctx, s.Store, uuid)
	if err == nil && vm.HostUUID == hostUUID {
		return s.agree(ctx, vm, g, hostUUID)
	}
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		return err
	}
	switch done, failed := s.found(ctx, uuid, hostUUID); {
	case done || failed != nil:
		return failed
	case err != nil:
		return nil // it is gone
	}
	return s.agree(ctx, vm, g, hostUUID)
}

// agree makes the row of a guest, or the guest, what the other is.
func (s *Service) agree(ctx context.Context, vm *VMInstance, g *guest, hostUUID string) error {
	uuid := vm.UUID
	now, err := s.actual(ctx, hostUUID, uuid)
	if err != nil {
		return err
	}
	switch {
	case (vm.State == Destroyed || vm.State == Expunging) && now != Stopped:
		return s.cutPower(ctx, &guest{UUID: uuid, Name: vm.Name, Host: hostUUID})
	case vm.HostUUID == hostUUID && now == Stopped:
		return s.disappeared(ctx, g)
	case vm.HostUUID == hostUUID && now != vm.State:
		return s.follow(ctx, vm, g, now)
	case vm.HostUUID == "" && now == Running && (vm.State == Stopped || vm.State == Unknown):
		return s.adopt(ctx, g, hostUUID, now) // it was started behind our back, or is there again
	case vm.HostUUID != "" && vm.HostUUID != hostUUID && now == Running:
		s.Log.Error("guest runs on two hosts or on the wrong one", "vm", uuid, "host", hostUUID, "expected", vm.HostUUID)
	}
	return nil
}

// actual asks a host for a guest's state; a missing guest is Stopped.
func (s *Service) actual(ctx context.Context, hostUUID, uuid string) (string, error) {
	h, err := s.hosts.PluginHost(ctx, s.Store, hostUUID)
	if err != nil {
		return "", err
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return "", err
	}
	r, err := hv.ListVMs(ctx, &pluginv1.ListVMsRequest{Host: h, VmUuid: uuid})
	if err != nil {
		return "", err
	}
	for _, v := range r.GetVms() {
		if v.GetUuid() == uuid {
			return reported[v.GetState()], nil
		}
	}
	return Stopped, nil
}

// disappeared stops a guest that is no longer on its host: power-off from
// inside, a crash of the emulator, a reboot of the host. The stop flow returns
// what the guest held.
func (s *Service) disappeared(ctx context.Context, g *guest) error {
	switch g.State {
	case Running, Paused, Unknown, Crashed, NoState:
	default:
		return nil
	}
	s.Log.Info("guest stopped by itself", "vm", g.UUID, "host", g.Host)
	return flow.Run(ctx, s.Flows, s.stop, &stopping{guest: *g, Cold: true}, flowOf(nil, g.UUID))
}

// follow sets the state that the host reports. One that was paused, and nobody
// asked for it, could not write to one of its volumes: their storages are looked at.
func (s *Service) follow(ctx context.Context, vm *VMInstance, g *guest, now string) error {
	if now == Paused {
		s.storage.LookAt(ctx, g.Volumes)
	}
	ev := events[now]
	if ev == "" || !vmStates.Can(vm.State, ev) {
		return nil
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.move(ctx, tx, vm.UUID, ev, nil) })
}
