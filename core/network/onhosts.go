package network

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file makes networks on hosts and takes them away again. A row of
// L2NetworkHostRef says that a host has, or may have, a network; it is written
// before the network is made and stays until the host has given it back, even
// when the network, or its cluster's use of it, is deleted meanwhile. Otherwise
// a bridge that nobody knows of would stay, and keep its interface from the
// next network.

// tidyTimeout bounds the work on one host that nobody waits for.
const tidyTimeout = time.Minute

// pluginL2 is a network as its plugin sees it.
func (s *Service) pluginL2(ctx context.Context, l2 *L2Network) (*pluginv1.L2Network, error) {
	fields, err := s.generic.PluginFieldsOf(ctx, s.Store, L2NetworkType.Type, l2.Type, l2.UUID)
	return &pluginv1.L2Network{Uuid: l2.UUID, Type: l2.Type, PhysicalInterface: l2.PhysicalInterface, VirtualNetworkId: int32(l2.VirtualNetworkID),
		VswitchType: l2.VSwitchType, Fields: fields, Isolated: l2.Isolated, Pvlan: l2.PVLAN}, err
}

// realize makes a network on a host and remembers its bridge there. It can be
// repeated.
func (s *Service) realize(ctx context.Context, l2 *L2Network, h *pluginv1.Host) error {
	plug, err := s.Plugins.L2Network(l2.Type, h.GetHypervisorType())
	if err != nil {
		return err
	}
	told, err := s.pluginL2(ctx, l2)
	if err != nil {
		return err
	}
	row, err := s.realizing(ctx, told, h.GetUuid())
	if err != nil {
		return err
	}
	r, err := plug.Realize(ctx, &pluginv1.RealizeRequest{Host: h, Network: told})
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "L2Network "+l2.Name, err, "cannot be realized on host %s", h.GetName())
	}
	if row.Bridge == r.GetBridge() {
		return nil
	}
	row.Bridge = r.GetBridge()
	return s.Store.Update(ctx, func(tx *store.Tx) error { return store.Save(ctx, tx, L2HostRefType, row, "bridge") })
}

// realizing notes what a host is about to be told of a network.
func (s *Service) realizing(ctx context.Context, l2 *pluginv1.L2Network, hostUUID string) (*L2NetworkHostRef, error) {
	text, err := protojson.Marshal(l2)
	if err != nil {
		return nil, err
	}
	row, found, err := store.First(ctx, s.Store, L2HostRefType, "`l2NetworkUuid` = ? AND `hostUuid` = ?", l2.GetUuid(), hostUUID)
	if err != nil || found && row.Realized == string(text) {
		return row, err
	}
	if !found {
		row = &L2NetworkHostRef{L2NetworkUUID: l2.GetUuid(), HostUUID: hostUUID}
		row.UUID = resource.NewUUID()
	}
	row.Realized = string(text)
	err = s.Store.Update(ctx, func(tx *store.Tx) error { // only what is in the host's queue writes it
		if found {
			return store.Save(ctx, tx, L2HostRefType, row, "realized")
		}
		return store.Insert(ctx, tx, L2HostRefType, row)
	})
	return row, err
}

// unrealize takes a network from a host and removes the row that says it is
// there. It can be repeated. Errors: Refused while guests are plugged in.
func (s *Service) unrealize(ctx context.Context, l2UUID string, h *pluginv1.Host) error {
	ref, found, err := store.First(ctx, s.Store, L2HostRefType, "`l2NetworkUuid` = ? AND `hostUuid` = ?", l2UUID, h.GetUuid())
	if err != nil || !found {
		return err
	}
	network := &pluginv1.L2Network{}
	if err := protojson.Unmarshal([]byte(ref.Realized), network); err != nil {
		return errs.Wrap(errs.Internal, "L2Network "+l2UUID, err, "what host %s was told of it cannot be read", h.GetName())
	}
	if err := s.releaseNetworks(ctx, ref, h); err != nil {
		return err
	}
	plug, err := s.Plugins.L2Network(network.GetType(), h.GetHypervisorType())
	if err != nil {
		return err
	}
	if _, err := plug.Unrealize(ctx, &pluginv1.UnrealizeRequest{Host: h, Network: network}); err != nil {
		return errs.Wrap(errs.ClassOf(err), "L2Network "+l2UUID, err, "cannot be removed from host %s", h.GetName())
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, L2HostRefType.Type, ref.UUID) })
}

// releaseNetworks lets the providers forget all L3 networks of an L2 network
// on a host. Those that are deleted were released then.
func (s *Service) releaseNetworks(ctx context.Context, ref *L2NetworkHostRef, h *pluginv1.Host) error {
	l3s, err := store.Texts(ctx, s.Store, "SELECT `uuid` FROM `L3Network` WHERE `l2NetworkUuid` = ?", ref.L2NetworkUUID)
	if err != nil {
		return err
	}
	for _, uuid := range l3s {
		if err := s.releaseL3(ctx, uuid, h); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) releaseL3(ctx context.Context, l3UUID string, h *pluginv1.Host) error {
	for _, d := range s.called(h.GetHypervisorType()) {
		if err := s.takeAway(ctx, h, d.GetType(), pluginsdk.NetworkKeys{Networks: []string{l3UUID}}); err != nil {
			return errs.Wrap(errs.ClassOf(err), "L3Network "+l3UUID, err, "cannot be released on host %s", h.GetName())
		}
	}
	return nil
}

// givenUp finds the networks that a host has and its cluster does not have.
const givenUp = "`hostUuid` = ? AND NOT EXISTS (SELECT 1 FROM `L2NetworkClusterRef` c WHERE c.`l2NetworkUuid` = `L2NetworkHostRef`.`l2NetworkUuid` AND c.`clusterUuid` = ?)"

// tidy takes from a host the networks that its cluster does not have any more.
// What fails, as guests are still plugged in, is tried again with the next ping.
func (s *Service) tidy(ctx context.Context, h *pluginv1.Host) {
	refs, err := store.Sound(ctx, s.Store, L2HostRefType, store.PassedOver(s.Log), givenUp, h.GetUuid(), h.GetClusterUuid())
	if err != nil {
		s.Log.Error("networks of host not listed", "host", h.GetUuid(), "error", err)
	}
	for _, ref := range refs {
		if err := s.unrealize(ctx, ref.L2NetworkUUID, h); err != nil {
			s.Log.Warn("network not taken from host yet", "host", h.GetUuid(), "l2Network", ref.L2NetworkUUID, "error", err)
		}
	}
}

// HostConnected makes the cluster's networks on a host, and takes away before
// those that the cluster gave up while the host was gone. One that cannot be made
// costs the others nothing: it is told of the L3 networks on it (Sync), and tried
// again with each ping (contract.HostLeaving).
func (s *Service) HostConnected(ctx context.Context, h *pluginv1.Host) error {
	s.tidy(ctx, h)
	s.changes.due(h.GetUuid()) // it is told everything
	s.changes.served(h.GetUuid())
	return s.realizeAll(ctx, h)
}

// realizeAll makes the cluster's networks on a host, and notes which cannot be.
// Errors are about the host.
func (s *Service) realizeAll(ctx context.Context, h *pluginv1.Host) error {
	missing := map[string]string{}
	damaged := func(uuid string, err error) {
		store.PassedOver(s.Log)(uuid, err)
		missing[uuid] = err.Error()
	}
	l2s, err := store.Sound(ctx, s.Store, L2NetworkType, damaged, "`uuid` IN (SELECT `l2NetworkUuid` FROM `L2NetworkClusterRef` WHERE `clusterUuid` = ?)", h.GetClusterUuid())
	if err != nil {
		return err
	}
	for _, l2 := range l2s {
		err := s.realize(ctx, l2, h)
		if isHosts(ctx, err) && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err != nil {
			s.Log.Warn("network not made on host", "host", h.GetUuid(), "l2Network", l2.UUID, "error", err)
			missing[l2.UUID] = err.Error()
		}
	}
	s.changes.connected(h.GetUuid(), missing)
	reasons := slices.Collect(maps.Values(missing))
	slices.Sort(reasons)
	s.hosts.Checked(ctx, h.GetUuid(), contract.HostCheck{Name: checkNetworks, Reason: strings.Join(reasons, "; ")})
	return nil
}

// HostReported takes it as a sign that the host answers: it is asked for what it could not
// give back, and told what it could not be told, earlier (contract.HostReported).
func (s *Service) HostReported(ctx context.Context, r contract.HostReport) error {
	if r.Complete {
		s.hostAnswers(ctx, r.HostUUID)
	}
	return nil
}

func (s *Service) hostAnswers(ctx context.Context, hostUUID string) {
	h, err := s.hosts.PluginHost(ctx, s.Store, hostUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return
	}
	waits := s.changes.waits(hostUUID)
	if err == nil && !waits {
		var left int64
		left, err = store.Count(ctx, s.Store, L2HostRefType.Type, givenUp, hostUUID, h.GetClusterUuid())
		waits = left > 0
	}
	if err == nil && waits {
		s.generic.Ask(ctx, hostUUID, catchUpMessage, map[string]any{"hostUuid": hostUUID})
	}
	if err != nil { // the next ping does it
		s.Log.Warn("networks of host not looked after yet", "host", hostUUID, "error", err)
	}
}

// catchUp does on a host what could not be done before.
func (s *Service) catchUp(ctx context.Context, h *pluginv1.Host) {
	s.tidy(ctx, h)
	if lacked := s.changes.lacks(h.GetUuid()); len(lacked) > 0 {
		s.makeUp(ctx, h, lacked)
	}
	failed := false
	for l3, restore := range s.changes.due(h.GetUuid()) {
		var vms map[string][]string
		var err error
		if restore {
			vms, err = s.guestsByHost(ctx, l3)
		}
		if err == nil {
			err = s.refreshAll(ctx, h, l3, restore, vms[h.GetUuid()])
		}
		if err != nil {
			failed = true
			s.changes.postpone(h.GetUuid(), l3, restore)
			s.Log.Warn("host not told of a changed network yet", "host", h.GetUuid(), "l3Network", l3, "error", err)
		}
	}
	if failed {
		return
	}
	for _, provider := range s.changes.served(h.GetUuid()) {
		s.checkedService(ctx, h.GetUuid(), provider, "")
	}
}

// Names of what this service looks at on hosts, among their checks.
const (
	checkNetworks = "networks"
	checkServices = "network services"
)

// checkedService shows on a host whether a provider did its part there.
func (s *Service) checkedService(ctx context.Context, hostUUID, provider, reason string) {
	uuids, err := store.Texts(ctx, store.Cached(s.Store), "SELECT `uuid` FROM `NetworkServiceProvider` WHERE `type` = ?", provider)
	if err != nil || len(uuids) == 0 {
		s.Log.Error("network service provider not found", "provider", provider, "error", err)
		return
	}
	s.hosts.Checked(ctx, hostUUID, contract.HostCheck{Name: checkServices, ResourceUUID: uuids[0], Reason: reason})
}

// makeUp makes networks on a host that could not be made when it connected, and
// has the L3 networks on them told to it.
func (s *Service) makeUp(ctx context.Context, h *pluginv1.Host, l2UUIDs []string) {
	err := s.realizeAll(ctx, h)
	left := s.changes.lacks(h.GetUuid())
	l2UUIDs = slices.DeleteFunc(l2UUIDs, func(uuid string) bool { return slices.Contains(left, uuid) })
	var l3s []string
	if err == nil {
		l3s, err = store.Texts(ctx, s.Store, "SELECT `uuid` FROM `L3Network` WHERE `l2NetworkUuid` IN (?)", l2UUIDs)
	}
	if err != nil { // the next ping does it
		s.Log.Warn("networks not made on host yet", "host", h.GetUuid(), "error", err)
	}
	for _, l3 := range l3s {
		s.changes.postpone(h.GetUuid(), l3, false)
	}
}

// catchUpMessage asks for catchUp on a host.
const catchUpMessage = "CatchUpWithHostNetworksMsg"

func (s *Service) registerInner() {
	type params struct {
		Host string `api:"hostUuid,required"`
	}
	action.Register(s.Actions, action.Action{Message: catchUpMessage, Access: action.Internal, Async: true, Queue: "hostUuid", Kind: "host",
		Timeout: tidyTimeout, Doc: "Does on a host what could not be done to its networks before."},
		func(ctx context.Context, _ *action.Call, p *params) (action.Empty, error) {
			h, err := s.hosts.PluginHost(ctx, s.Store, p.Host)
			if err != nil {
				return action.Empty{}, err
			}
			s.catchUp(ctx, h)
			return action.Empty{}, nil
		})
}

// HostLeaving takes the networks from a host (contract.HostLeaving).
func (s *Service) HostLeaving(ctx context.Context, h *pluginv1.Host) error {
	refs, err := store.Find(ctx, s.Store, L2HostRefType, "`hostUuid` = ?", h.GetUuid())
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := s.unrealize(ctx, ref.L2NetworkUUID, h); err != nil {
			return err
		}
	}
	s.changes.connected(h.GetUuid(), nil)
	s.changes.due(h.GetUuid())
	s.changes.served(h.GetUuid())
	return s.problems.ForgetHost(ctx, h.GetUuid())
}
