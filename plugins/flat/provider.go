package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// provider is the Flat network service provider.
type provider struct{ *hosts }

func leaseKey(nicUUID string) string    { return "dhcp-" + nicUUID }
func metadataKey(nicUUID string) string { return "meta-" + nicUUID }

// ApplyNetworkState makes the services of NICs work on a host, or changes and removes
// them, in one call to the agent: all of it or nothing. A repeat replaces what a row
// had, also by nothing, when a service was taken from its network; a network that goes
// takes its leases and metadata along. The agent keeps the revision. Errors: Invalid
// naming the NIC or network with a wrong address, and nothing is changed.
func (p *provider) ApplyNetworkState(ctx context.Context, r *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	rows, err := split(r.Upserts)
	if err != nil {
		return nil, err
	}
	gone, err := goneKeys(r.Removes)
	if err != nil {
		return nil, err
	}
	told := &problems{}
	fragments, err := fragmentsOf(rows.Networks, rows.NICs, told, func(_, _ string, err error) error { return err })
	if err != nil {
		return nil, err
	}
	answer, err := p.apply(ctx, r.Target.GetHost(), subject(rows, r.Removes), &hostv1.ApplyRequest{
		Owner: ownerProvider, Base: r.Base, Revision: r.Revision, Upsert: fragments, Remove: append(gone, unused(rows, fragments)...),
	})
	if err != nil {
		return nil, err
	}
	if answer.GetStale() {
		return &pluginv1.ApplyNetworkStateResponse{Resync: true}, nil
	}
	return &pluginv1.ApplyNetworkStateResponse{Problems: told.list}, nil
}

// split takes rows apart. This provider has networks and NICs only.
func split(all []*pluginv1.NetworkRow) (pluginsdk.NetworkRows, error) {
	rows, err := pluginsdk.SplitRows(all)
	if err == nil && len(rows.Others) > 0 {
		err = errs.New(errs.Invalid, rows.Others[0].Type+" "+rows.Others[0].Uuid, "the provider has no rows of this type")
	}
	return rows, err
}

// goneKeys are the keys of rows that go.
func goneKeys(removes []*pluginv1.NetworkRowKey) ([]string, error) {
	rows, err := pluginsdk.SplitKeys(removes)
	if err != nil {
		return nil, err
	}
	if len(rows.Others) > 0 {
		return nil, errs.New(errs.Invalid, rows.Others[0].Type+" "+rows.Others[0].Uuid, "the provider has no rows of this type")
	}
	for _, uuid := range rows.Networks {
		if err := pluginsdk.CheckUUID("L3 network", uuid); err != nil {
			return nil, err
		}
	}
	for _, uuid := range rows.NICs {
		if err := pluginsdk.CheckUUID("NIC", uuid); err != nil {
			return nil, err
		}
	}
	return append(slices.Clone(rows.Networks), nicKeys(rows.NICs)...), nil
}

// unused lists the keys that the networks and NICs may have had and have no more.
func unused(rows pluginsdk.NetworkRows, fragments []*hostv1.Fragment) []string {
	used := make(map[string]bool, len(fragments))
	for _, f := range fragments {
		used[f.Key] = true
	}
	var keys []string
	for _, nic := range rows.NICs {
		keys = append(keys, leaseKey(nic.NicUuid), metadataKey(nic.NicUuid))
	}
	for _, n := range rows.Networks {
		keys = append(keys, n.Uuid)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return used[key] })
}

func nicKeys(uuids []string) []string {
	keys := make([]string, 0, 2*len(uuids))
	for _, uuid := range uuids {
		keys = append(keys, leaseKey(uuid), metadataKey(uuid))
	}
	return keys
}

// subject says what a call is about: a guest when there is one.
func subject(rows pluginsdk.NetworkRows, removes []*pluginv1.NetworkRowKey) string {
	switch {
	case len(rows.NICs) > 0:
		return "VM " + rows.NICs[0].VmUuid
	case len(rows.Networks) > 0:
		return "L3 network " + rows.Networks[0].Uuid
	case len(removes) > 0 && removes[0].GetNicUuid() != "":
		return "NIC " + removes[0].GetNicUuid()
	case len(removes) > 0:
		return "L3 network " + removes[0].GetNetworkUuid()
	}
	return "network services"
}

// SyncNetworkState makes exactly the given NICs' services work on the host and removes
// what is left of others. Bridges belong to another owner and stay. Networks
// without one of the NICs are passed over. What is not possible of a network, or
// for a NIC, stays as it is on the host, is a problem in the answer, and costs the
// others nothing.
func (p *provider) SyncNetworkState(ctx context.Context, r *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	rows, err := split(r.Rows)
	if err != nil {
		return nil, err
	}
	told := &problems{}
	networks, nics, lost := inUse(rows.Networks, rows.NICs)
	for _, l3 := range lost {
		told.add(l3, "nothing can be changed: the network has no IP range; add one")
	}
	keep := lost // with what is in them
	fragments, err := fragmentsOf(networks, nics, told, func(l3UUID, key string, err error) error {
		told.add(l3UUID, err.Error())
		keep = append(keep, key, leaseKey(key), metadataKey(key)) // the network's key, or the NIC's
		return nil
	})
	if err != nil {
		return nil, err
	}
	host := r.Target.GetHost()
	object := "host " + host.GetUuid()
	agent, err := p.agent(host, object)
	if err != nil {
		return nil, err
	}
	answer, err := agent.Sync(ctx, &hostv1.SyncRequest{Owner: ownerProvider, Revision: r.Revision, Fragments: fragments, Keep: keep})
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), object, err, "sync the network services of %d NICs", len(nics))
	}
	networkOf := make(map[string]string, 2*len(nics))
	for _, nic := range nics {
		networkOf[leaseKey(nic.NicUuid)], networkOf[metadataKey(nic.NicUuid)] = nic.L3Uuid, nic.L3Uuid
	}
	for _, f := range answer.Failures {
		told.add(cmp.Or(networkOf[f.Key], f.Key), f.Text) // a network's key is its UUID
	}
	return &pluginv1.SyncNetworkStateResponse{Problems: told.list, Changed: answer.Changed, Removed: answer.Removed}, nil
}
