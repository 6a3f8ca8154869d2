package main

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// provider is the Flat network service provider.
type provider struct{ *hosts }

func leaseKey(nicUUID string) string    { return "dhcp-" + nicUUID }
func metadataKey(nicUUID string) string { return "meta-" + nicUUID }

// PrepareNICs makes the services of the guest's NICs work on the host, in one
// call to the agent: all of them or none. A repeat replaces what a NIC had,
// also by nothing, when a service was taken from its network. Without NICs it
// tells the host what has changed of networks that it serves. Errors: Invalid
// naming the NIC or network with a wrong address, and nothing is changed.
func (p *provider) PrepareNICs(ctx context.Context, r *pluginv1.PrepareNICsRequest) (*pluginv1.PrepareNICsResponse, error) {
	told := &problems{}
	fragments, err := fragmentsOf(r.Networks, r.Nics, told, func(_, _ string, err error) error { return err })
	if err != nil {
		return nil, err
	}
	err = p.apply(ctx, r.Host, nicsName(r.Nics), &hostv1.ApplyRequest{
		Owner: ownerProvider, Upsert: fragments, Remove: unused(r, fragments),
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.PrepareNICsResponse{Problems: told.list}, nil
}

// unused lists the keys that the networks and NICs may have had and have no more.
func unused(r *pluginv1.PrepareNICsRequest, fragments []*hostv1.Fragment) []string {
	used := make(map[string]bool, len(fragments))
	for _, f := range fragments {
		used[f.Key] = true
	}
	keys := nicKeys(r.Nics)
	for _, n := range r.Networks {
		keys = append(keys, n.Uuid)
	}
	var gone []string
	for _, key := range keys {
		if !used[key] {
			gone = append(gone, key)
		}
	}
	return gone
}

func nicKeys(nics []*pluginv1.GuestNIC) []string {
	keys := make([]string, 0, 2*len(nics))
	for _, nic := range nics {
		keys = append(keys, leaseKey(nic.NicUuid), metadataKey(nic.NicUuid))
	}
	return keys
}

// nicsName says what a call is about: the guest when there is one.
func nicsName(nics []*pluginv1.GuestNIC) string {
	if len(nics) == 0 {
		return "guest without NICs"
	}
	return "VM " + nics[0].VmUuid
}

// ReleaseNICs takes the NICs' leases and metadata away. The network's namespace
// stays for the other guests until ReleaseNetwork.
func (p *provider) ReleaseNICs(ctx context.Context, r *pluginv1.ReleaseNICsRequest) (*pluginv1.ReleaseNICsResponse, error) {
	for _, nic := range r.Nics {
		if err := pluginsdk.CheckUUID("NIC", nic.NicUuid); err != nil {
			return nil, err
		}
	}
	err := p.apply(ctx, r.Host, nicsName(r.Nics), &hostv1.ApplyRequest{
		Owner: ownerProvider, Remove: nicKeys(r.Nics),
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.ReleaseNICsResponse{}, nil
}

// SyncHost makes exactly the given NICs' services work on the host and removes
// what is left of others. Bridges belong to another owner and stay. Networks
// without one of the NICs are passed over. What is not possible of a network, or
// for a NIC, stays as it is on the host, is a problem in the answer, and costs the
// others nothing.
func (p *provider) SyncHost(ctx context.Context, r *pluginv1.SyncHostRequest) (*pluginv1.SyncHostResponse, error) {
	told := &problems{}
	networks, nics, lost := inUse(r.Networks, r.Nics)
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
	object := "host " + r.Host.GetUuid()
	agent, err := p.agent(r.Host, object)
	if err != nil {
		return nil, err
	}
	answer, err := agent.Sync(ctx, &hostv1.SyncRequest{Owner: ownerProvider, Fragments: fragments, Keep: keep})
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), object, err, "sync the network services of %d NICs", len(nics))
	}
	networkOf := map[string]string{}
	for _, nic := range nics {
		for _, key := range nicKeys([]*pluginv1.GuestNIC{nic}) {
			networkOf[key] = nic.L3Uuid
		}
	}
	for _, f := range answer.Failures {
		told.add(cmp.Or(networkOf[f.Key], f.Key), f.Text) // a network's key is its UUID
	}
	return &pluginv1.SyncHostResponse{Problems: told.list}, nil
}

// ReleaseNetwork removes the network's namespace from the host, and with it
// all leases and metadata that are left in it.
func (p *provider) ReleaseNetwork(ctx context.Context, r *pluginv1.ReleaseNetworkRequest) (*pluginv1.ReleaseNetworkResponse, error) {
	if err := pluginsdk.CheckUUID("L3 network", r.L3Uuid); err != nil {
		return nil, err
	}
	err := p.apply(ctx, r.Host, "L3 network "+r.L3Uuid, &hostv1.ApplyRequest{
		Owner: ownerProvider, Remove: []string{r.L3Uuid},
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.ReleaseNetworkResponse{}, nil
}
