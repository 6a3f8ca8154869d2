package quickstart

import (
	"net/netip"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Options says what the cloud is made of.
type Options struct {
	// ImageURL is the address of the guest image, as the server sees it.
	ImageURL string
	// Interface is the network card that the VMs' network is built on.
	Interface string
	// Network is the VMs' network; its first address is the gateway.
	Network netip.Prefix
	// PrimaryStorage and ImageStore are folders on the server's machine.
	PrimaryStorage, ImageStore string
	// Memory of the VM in bytes.
	Memory int64
	// UserData is what the VM gets to run at its first start.
	UserData []byte
}

// addresses is how a network is divided.
type addresses struct {
	gateway, first, last, netmask string
}

// divide leaves the first nine addresses for the machine's own use and the last
// five of a /24 for people's experiments.
func divide(network netip.Prefix) (addresses, error) {
	if !network.IsValid() || !network.Addr().Is4() || network.Bits() != 24 {
		return addresses{}, errs.New(errs.Invalid, "network "+network.String(), "not an IPv4 network of 24 bits").WithAdvice("give it like 172.30.0.0/24")
	}
	base := network.Masked().Addr().As4()
	at := func(last byte) string {
		base[3] = last
		return netip.AddrFrom4(base).String()
	}
	return addresses{gateway: at(1), first: at(10), last: at(250), netmask: "255.255.255.0"}, nil
}

// names of what is made; a second run finds it by them.
const (
	zoneName     = "zone-1"
	clusterName  = "kvm-1"
	hostName     = "this-machine"
	primaryName  = "local-1"
	backupName   = "images-1"
	imageName    = "tiny"
	offeringName = "small"
	l2Name       = "l2-1"
	l3Name       = "flat-1"
	rangeName    = "range-1"
	vmName       = "hello"
)

// localCredentials stand in the required SSH fields of a host that is the
// server's own machine, where nobody signs in by SSH.
const (
	localAddress  = "127.0.0.1"
	localUser     = "root"
	localPassword = "not-used"
)
