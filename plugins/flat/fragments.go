package main

import (
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// namespaceDigits of an L3 network's UUID name its namespace, which so has the
// length of a device name.
const namespaceDigits = 10

// namespaceName takes the end of the UUID, which is random: its beginning is the
// time, which networks that are made together share.
func namespaceName(l3UUID string) string { return "kumo-" + l3UUID[len(l3UUID)-namespaceDigits:] }

// fragmentsOf computes the desired state of networks with their services, and
// then of NICs in them. Items of a network that are not possible are left out and
// told. Of a network or NIC that is not possible as a whole, with bad or double
// addresses, refuse is told before anything reaches a host (errs.Invalid naming
// the NIC or the network): its error ends the call, without one the network is
// left out with its NICs, or the NIC.
func fragmentsOf(networks []*pluginv1.L3Network, nics []*pluginv1.GuestNIC, told *problems, refuse func(l3UUID, uuid string, err error) error) ([]*hostv1.Fragment, error) {
	served := make(map[string]*network)
	taken := make(map[string]string, 2*len(nics))
	var forNetworks, forNICs []*hostv1.Fragment
	for _, row := range networks {
		n, own, err := networkFragments(row, told)
		served[row.Uuid] = n
		if err != nil {
			served[row.Uuid] = &network{row: &pluginv1.L3Network{}} // nothing is served there
			if err := refuse(row.Uuid, row.Uuid, err); err != nil {
				return nil, err
			}
		}
		forNetworks = append(forNetworks, own...)
	}
	for _, nic := range nics {
		own, err := func() ([]*hostv1.Fragment, error) {
			if err := pluginsdk.CheckUUID("NIC", nic.NicUuid); err != nil {
				return nil, err
			}
			n := served[nic.L3Uuid]
			if n == nil {
				return nil, errs.New(errs.Invalid, "NIC "+nic.NicUuid, "its L3 network %q is not among those of the call", nic.L3Uuid)
			}
			return n.nicFragments(nic, taken)
		}()
		if err != nil {
			if err := refuse(nic.L3Uuid, nic.NicUuid, err); err != nil {
				return nil, err
			}
		}
		forNICs = append(forNICs, own...)
	}
	return append(forNetworks, forNICs...), nil
}

func networkFragments(row *pluginv1.L3Network, told *problems) (*network, []*hostv1.Fragment, error) {
	n, err := parseNetwork(row)
	if err != nil || !n.served() {
		return n, nil, err
	}
	f := n.fragment()
	told.add(row.Uuid, n.leaveOut(f.GetDhcpNetwork())...)
	if domain := f.GetDhcpNetwork().GetDomain(); domain != row.DnsDomain { // guests' names are in it
		n.row = proto.Clone(row).(*pluginv1.L3Network)
		n.row.DnsDomain = domain
	}
	own, err := checked("L3 network "+row.Uuid, f)
	return n, own, err
}

// inUse returns the networks that have one of the NICs, and those NICs. Networks
// which lost their last IP range while guests were in them are left out with
// their NICs, and returned as lost: without a range nothing can be served there,
// and the other networks of a host must not wait for them.
func inUse(networks []*pluginv1.L3Network, nics []*pluginv1.GuestNIC) (used []*pluginv1.L3Network, in []*pluginv1.GuestNIC, lost []string) {
	hasNIC, without := make(map[string]bool), make(map[string]bool)
	for _, nic := range nics {
		hasNIC[nic.L3Uuid] = true
	}
	for _, row := range networks {
		switch n := (&network{row: row}); {
		case !hasNIC[row.Uuid]:
		case n.served() && len(row.Ranges) == 0:
			without[row.Uuid] = true
			lost = append(lost, row.Uuid)
		default:
			used = append(used, row)
		}
	}
	for _, nic := range nics {
		if !without[nic.L3Uuid] {
			in = append(in, nic)
		}
	}
	return used, in, lost
}

// network is an L3 network with checked values.
type network struct {
	row     *pluginv1.L3Network
	cidr    netip.Prefix
	gateway string
	service netip.Addr
}

func (n *network) has(service string) bool { return slices.Contains(n.row.Services, service) }

// served tells whether anything runs on the host for this network. Host routes
// alone do not: DHCP is what carries them.
func (n *network) served() bool {
	return n.has(serviceDHCP) || n.has(serviceDNS) || n.has(serviceUserdata)
}

// parseNetwork checks a network. Its ranges share one CIDR and one gateway
// (specification of network services, section 1), so the first one counts.
func parseNetwork(row *pluginv1.L3Network) (*network, error) {
	if err := pluginsdk.CheckUUID("L3 network", row.Uuid); err != nil {
		return nil, err
	}
	n := &network{row: row}
	if !n.served() {
		return n, nil
	}
	object := "L3 network " + row.Uuid
	if len(row.Ranges) == 0 {
		return nil, errs.New(errs.Invalid, object, "it has no IP range").WithAdvice("add one to the network")
	}
	first := row.Ranges[0]
	for _, r := range row.Ranges {
		if r.NetworkCidr != first.NetworkCidr || r.Gateway != first.Gateway {
			return nil, errs.New(errs.Invalid, object, "its IP ranges differ in network or gateway")
		}
	}
	var err error
	if n.cidr, err = netip.ParsePrefix(first.NetworkCidr); err != nil {
		return nil, errs.New(errs.Invalid, object, "%q is no IPv4 network", first.NetworkCidr)
	}
	n.gateway = first.Gateway
	if n.service, err = n.address(object, "service address", row.ServiceIp); err != nil {
		return nil, err
	}
	if row.ServiceIp == n.gateway {
		return nil, errs.New(errs.Invalid, object, "the service address %s is the gateway's", row.ServiceIp)
	}
	return n, nil
}

// address parses an address that must be usable by a machine in the network.
func (n *network) address(object, what, text string) (netip.Addr, error) {
	a, err := dataplane.ParseIPv4(what, text)
	if err != nil {
		return a, errs.Wrap(errs.Invalid, object, err, "")
	}
	if !n.cidr.Contains(a) || (n.cidr.Bits() < 31 && a == n.cidr.Addr()) {
		return a, errs.New(errs.Invalid, object, "%s %s is not a machine's address in %s", what, a, n.cidr)
	}
	return a, nil
}

// checked refuses what the agent would refuse, before a host has anything to
// do with it, and names the row instead of the fragment.
func checked(object string, fragments ...*hostv1.Fragment) ([]*hostv1.Fragment, error) {
	for _, f := range fragments {
		if err := dataplane.CheckFragment(f); err != nil {
			return nil, errs.Wrap(errs.ClassOf(err), object, err, "its network services are not possible")
		}
	}
	return fragments, nil
}

func (n *network) fragment() *hostv1.Fragment {
	out := &hostv1.DHCPNetwork{
		Namespace:     namespaceName(n.row.Uuid),
		Bridge:        n.row.Bridge,
		Address:       netip.PrefixFrom(n.service, n.cidr.Bits()).String(),
		NetworkCidr:   n.cidr.String(),
		Gateway:       n.gateway,
		Domain:        n.row.DnsDomain,
		Mtu:           n.row.Mtu,
		ServeDhcp:     n.has(serviceDHCP),
		ServeDns:      n.has(serviceDNS),
		ServeMetadata: n.has(serviceUserdata),
	}
	if n.has(serviceDNS) {
		// DHCP's option for name servers has IPv4 addresses (RFC 2132, section 3.8).
		for _, text := range n.row.Dns {
			if a, err := netip.ParseAddr(text); err != nil || a.Is4() { // what is none is refused by the checks
				out.Dns = append(out.Dns, text)
			}
		}
	}
	if n.has(serviceHostRoute) {
		for _, r := range n.row.HostRoutes {
			out.Routes = append(out.Routes, &hostv1.Route{Prefix: r.Prefix, NextHop: r.NextHop})
		}
	}
	return &hostv1.Fragment{Key: n.row.Uuid, Kind: &hostv1.Fragment_DhcpNetwork{DhcpNetwork: out}}
}

// nicFragments computes a NIC's lease and metadata. A guest without a name gets
// one made of its address, so that names in a network differ. taken keeps
// addresses from being used twice: dnsmasq refuses two hosts of one IP or MAC.
func (n *network) nicFragments(nic *pluginv1.GuestNIC, taken map[string]string) ([]*hostv1.Fragment, error) {
	if !n.served() {
		return nil, nil
	}
	object := "NIC " + nic.NicUuid
	ip, err := n.address(object, "address", nic.Ip)
	if err != nil {
		return nil, err
	}
	if ip == n.service {
		return nil, errs.New(errs.Invalid, object, "address %s is that of the DHCP service of L3 network %s", ip, n.row.Uuid)
	}
	mac, err := kinds.Parse("mac", nic.Mac)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "")
	}
	for _, used := range []string{ip.String(), mac} {
		key := n.row.Uuid + " " + used
		if other, ok := taken[key]; ok {
			return nil, errs.New(errs.Invalid, object, "address %s is also that of %s", used, other)
		}
		taken[key] = object
	}
	hostname := nic.Hostname
	if hostname == "" {
		hostname = strings.ReplaceAll(ip.String(), ".", "-")
	}
	var out []*hostv1.Fragment
	if n.has(serviceDHCP) {
		out = append(out, &hostv1.Fragment{
			Key: leaseKey(nic.NicUuid),
			Kind: &hostv1.Fragment_DhcpBinding{DhcpBinding: &hostv1.DHCPBinding{
				NetworkKey: n.row.Uuid, Mac: mac, Ip: ip.String(),
				// The agent names guests by their NIC in the default network only.
				Hostname: hostname, DefaultNetwork: nic.DefaultNetwork,
			}},
		})
	}
	if n.has(serviceUserdata) {
		if err := pluginsdk.CheckUUID("VM", nic.VmUuid); err != nil {
			return nil, err
		}
		out = append(out, &hostv1.Fragment{
			Key: metadataKey(nic.NicUuid),
			Kind: &hostv1.Fragment_Metadata{Metadata: &hostv1.Metadata{
				NetworkKey: n.row.Uuid, Ip: ip.String(), InstanceId: nic.VmUuid,
				// As EC2 tells it: the name with its domain.
				Hostname: dataplane.FQDN(hostname, n.row.DnsDomain), UserData: nic.UserData, SshKeys: nic.SshKeys,
			}},
		})
	}
	return checked(object, out...)
}
