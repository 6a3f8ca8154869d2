package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// connectTimeout bounds one connect: pushing an agent over a slow line
// included.
const connectTimeout = 5 * time.Minute

// PluginHost returns the host with all that its plugin needs to reach it,
// secrets included; it must never be logged. It reads no column of capacity, so
// that the answer can be kept while guests come and go: every start asks for it.
func (s *Service) PluginHost(ctx context.Context, q store.Querier, uuid string) (*pluginv1.Host, error) {
	q = store.Cached(q)
	var h *Host
	err := q.Each(ctx, "SELECT `name`, `managementIp`, `clusterUuid`, `hypervisorType`, `zoneUuid` FROM `Host` WHERE `uuid` = ?", []any{uuid}, func(r *store.Row) error {
		h = &Host{ManagementIP: r.Text(1), ClusterUUID: r.Text(2), HypervisorType: r.Text(3), ZoneUUID: r.Text(4)}
		h.UUID, h.Name = uuid, r.Text(0)
		return nil
	})
	if err == nil && h == nil {
		err = errs.New(errs.NotFound, "Host "+uuid, "it does not exist")
	}
	if err != nil {
		return nil, err
	}
	return s.pluginHost(ctx, q, h)
}

func (s *Service) pluginHost(ctx context.Context, q store.Querier, h *Host) (*pluginv1.Host, error) {
	fields, err := s.generic.PluginFieldsOf(ctx, q, HostType.Type, h.HypervisorType, h.UUID)
	if err != nil {
		return nil, err
	}
	return &pluginv1.Host{Uuid: h.UUID, Name: h.Name, ManagementIp: h.ManagementIP, ClusterUuid: h.ClusterUUID,
		HypervisorType: h.HypervisorType, Fields: fields, ZoneUuid: h.ZoneUUID}, nil
}

// Cluster implements contract.Hosts.
func (s *Service) Cluster(ctx context.Context, q store.Querier, uuid string) (*contract.Cluster, error) {
	c, err := store.Get(ctx, q, ClusterType, uuid)
	if err != nil {
		return nil, err
	}
	return &contract.Cluster{UUID: c.UUID, Name: c.Name, ZoneUUID: c.ZoneUUID, HypervisorType: c.HypervisorType}, nil
}

// Again implements contract.Hosts.
func (s *Service) Again(ctx context.Context, q store.Querier, uuid, managementIP string) (string, error) {
	found, err := store.Texts(ctx, q, "SELECT `uuid` FROM `Host` WHERE `uuid` = ? OR `managementIp` = ?", uuid, managementIP)
	if err != nil {
		return "", err
	}
	if slices.Contains(found, uuid) {
		return uuid, nil
	}
	if len(found) == 0 {
		return "", errs.New(errs.NotFound, "Host "+uuid, "it does not exist, nor does another one at %s", managementIP)
	}
	return found[0], nil
}

// OnConnected calls fn for a host if it is connected (contract.Hosts). It does so in
// the host's queue: a host that is being connected, and may have asked already
// what it is to have, is told of the change afterwards, and one that is being
// deleted is not told at all.
func (s *Service) OnConnected(ctx context.Context, uuid string, fn func(*pluginv1.Host) error) error {
	return s.Actions.Turn(ctx, nil, uuid, "host", "UseHost", func(ctx context.Context) error {
		host, found, err := store.First(ctx, s.Store, HostType, "`uuid` = ? AND `status` = ?", uuid, Connected)
		if err != nil || !found {
			return err
		}
		h, err := s.pluginHost(ctx, s.Store, host)
		if err != nil {
			return err
		}
		return fn(h)
	})
}

// EachConnected does that for the hosts of a cluster, connectParallel at once
// (contract.Hosts). Those that are Disconnected need no place in their queues; one
// whose row is damaged is logged, and is told what it missed when it can be read, and
// connects.
func (s *Service) EachConnected(ctx context.Context, clusterUUID string, fn func(*pluginv1.Host) error) error {
	uuids, err := store.Texts(ctx, s.Store, "SELECT `uuid` FROM `Host` WHERE `clusterUuid` = ? AND `status` <> ?", clusterUUID, Disconnected)
	if err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(connectParallel)
	var failed atomic.Bool
	for _, uuid := range uuids {
		all.Go(func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					s.Log.Error("panic on a host of a cluster", "host", uuid, "panic", v, "stack", string(debug.Stack()))
					err = errs.New(errs.Internal, "host "+uuid, "panic: %v", v).WithAdvice("the log has the details")
				}
				if err != nil {
					failed.Store(true)
				}
			}()
			if failed.Load() {
				return nil
			}
			read := false
			err = s.OnConnected(ctx, uuid, func(h *pluginv1.Host) error {
				if read = true; failed.Load() {
					return nil
				}
				return fn(h)
			})
			if !read && errors.Is(err, store.ErrDamaged) {
				store.PassedOver(s.Log)(uuid, err)
				return nil
			}
			return err
		})
	}
	return all.Wait()
}

// connect is renew for a host that guests must not be placed on meanwhile.
func (s *Service) connect(ctx context.Context, uuid string) error {
	if err := s.setStatus(ctx, uuid, Connecting); err != nil {
		return err
	}
	return s.renew(ctx, uuid)
}

// connectOrTry is connect for a host that was there before: when it fails, it is
// tried again in the background until it works (spec: section 1.2).
func (s *Service) connectOrTry(ctx context.Context, uuid string) error {
	err := s.connect(ctx, uuid)
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		s.reconnectSoon(s.root, uuid)
	}
	return err
}

// renew makes a host usable: plugin, facts, the services' part, guests, watch. It can be
// repeated. The host's status changes when the outcome is known: on failure it
// is Disconnected and the first cause is returned.
func (s *Service) renew(ctx context.Context, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	h, err := s.PluginHost(ctx, s.Store, uuid)
	if err != nil {
		return err
	}
	s.stopWatch(uuid)
	checks, err := s.connectNow(ctx, h)
	if err != nil {
		s.lost(context.WithoutCancel(ctx), uuid, checks, err)
		return err
	}
	if err := s.setStatus(ctx, uuid, Connected); err != nil {
		return err
	}
	s.noteChecks(ctx, uuid, append(checks, connected()), false)
	s.startWatch(h)
	return nil
}

// connectNow connects a host, and returns what was found of it meanwhile.
func (s *Service) connectNow(ctx context.Context, h *pluginv1.Host) ([]finding, error) {
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return nil, err
	}
	r, err := hv.ConnectHost(ctx, &pluginv1.ConnectHostRequest{Host: h})
	checks, failed := answered(h, hv.Decl, r.GetChecks())
	if err == nil {
		err = failed
	}
	if err != nil {
		return checks, errs.Wrap(errs.ClassOf(err), "host "+h.GetName(), err, "cannot be connected")
	}
	return checks, s.makeReady(ctx, hv, h, r)
}

// makeReady takes up what a host that answers tells of itself.
func (s *Service) makeReady(ctx context.Context, hv *plugin.Hypervisor, h *pluginv1.Host, r *pluginv1.ConnectHostResponse) error {
	for _, note := range r.GetFacts().GetNotes() {
		s.Log.Warn("host reported", "host", h.GetUuid(), "note", note)
	}
	if err := s.saveFacts(ctx, h, hv.Decl, r.GetFacts()); err != nil {
		return err
	}
	if err := hook.Tell(ctx, s.Hooks, contract.HostConnected, h); err != nil {
		return fmt.Errorf("connect host %s: %w", h.GetName(), err)
	}
	return s.tellGuests(ctx, hv, h)
}

// tellGuests tells of all guests on a host.
func (s *Service) tellGuests(ctx context.Context, hv *plugin.Hypervisor, h *pluginv1.Host) error {
	vms, err := hv.ListVMs(ctx, &pluginv1.ListVMsRequest{Host: h})
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "host "+h.GetName(), err, "its guests cannot be listed")
	}
	hook.Announce(ctx, s.Hooks, contract.HostReported, contract.HostReport{HostUUID: h.GetUuid(), Guests: vms.GetVms(), Complete: true})
	return nil
}

// saveFacts stores what the host is. Capacities are totals of the machine less
// what running guests hold, computed in one statement, so that a reconnect
// under load neither loses nor doubles a reservation.
func (s *Service) saveFacts(ctx context.Context, h *pluginv1.Host, d *pluginv1.HypervisorDecl, f *pluginv1.HostFacts) error {
	ratio := s.Config.Int64(ctx, catHost, "cpu.overProvisioning.ratio", "")
	cpu := f.GetCpuNum() * ratio
	facts, err := kernel.Facts(f.GetFields(), d.GetFields())
	if err != nil {
		return err
	}
	architecture, err := s.architecture(ctx, h, f.GetArchitecture())
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` + ? - `totalCpuCapacity`, "+
			"`availableMemoryCapacity` = `availableMemoryCapacity` + ? - `totalMemoryCapacity` WHERE `uuid` = ?",
			cpu, f.GetMemoryBytes(), h.GetUuid())
		if err != nil {
			return err
		}
		err = store.Set(ctx, tx, HostType.Type, h.GetUuid(), map[string]any{
			"totalCpuCapacity": cpu, "totalMemoryCapacity": f.GetMemoryBytes(), "cpuNum": f.GetCpuNum(),
			"cpuSockets": f.GetCpuSockets(), "cpuMHz": f.GetCpuMhz(), "architecture": architecture,
		})
		if err != nil {
			return err
		}
		if sub := s.generic.SubtypeOf(HostType.Type, h.GetHypervisorType()); sub != nil && len(facts) > 0 {
			return store.Set(ctx, tx, sub, h.GetUuid(), facts)
		}
		return nil
	})
}

// architecture returns the architecture of a host from what it reports; what
// reports none has that of its cluster. Errors: Refused when the cluster has
// another. A host that was there with it before stays usable: guests are placed
// by the host's own.
func (s *Service) architecture(ctx context.Context, h *pluginv1.Host, reported string) (string, error) {
	cluster, err := store.Get(ctx, s.Store, ClusterType, h.GetClusterUuid())
	if err != nil {
		return "", err
	}
	if reported == "" || cluster.Architecture == "" || reported == cluster.Architecture {
		return cmp.Or(reported, cluster.Architecture), nil
	}
	before, err := store.Texts(ctx, s.Store, "SELECT `architecture` FROM `Host` WHERE `uuid` = ?", h.GetUuid())
	if err != nil || slices.Contains(before, reported) {
		return reported, err
	}
	return "", errs.New(errs.Refused, "host "+h.GetName(), "its architecture is %s; cluster %s takes hosts of %s", reported, cluster.Name, cluster.Architecture).
		WithAdvice("add it to a cluster whose architecture is %s", reported)
}

func (s *Service) setStatus(ctx context.Context, uuid, status string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, HostType.Type, uuid, map[string]any{"status": status})
	})
}

// lost records that a host cannot be used, and why, and announces it.
func (s *Service) lost(ctx context.Context, uuid string, checks []finding, cause error) {
	s.Log.Warn("host disconnected", "host", uuid, "error", cause)
	s.notUsable(ctx, uuid, s.declOf(ctx, uuid), checks, cause, true)
	if err := s.setStatus(ctx, uuid, Disconnected); err != nil && errs.ClassOf(err) != errs.NotFound {
		s.Log.Error("host status not saved", "host", uuid, "error", err)
	}
	hook.Announce(ctx, s.Hooks, contract.HostLost, uuid)
}

// declOf is what a host's plugin declares; nil when it cannot be told.
func (s *Service) declOf(ctx context.Context, uuid string) *pluginv1.HypervisorDecl {
	h, err := s.PluginHost(ctx, s.Store, uuid)
	if err != nil {
		return nil
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return nil
	}
	return hv.Decl
}
