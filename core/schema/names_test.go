package schema

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	for name, want := range map[string][]string{
		"KVMHost": {"KVM", "Host"}, "L2Network": {"L2", "Network"}, "vmNicUuid": {"vm", "Nic", "Uuid"}, "VmCdRom": {"Vm", "Cd", "Rom"},
		"ping.interval": {"ping", "interval"}, "": nil, "uuid": {"uuid"}, "enableIPAM": {"enable", "IPAM"},
	} {
		if got := split(name); !slices.Equal(got, want) {
			t.Errorf("split(%q) is %q, want %q", name, got, want)
		}
	}
}

func TestSpoken(t *testing.T) {
	for name, want := range map[string]string{"vipIp": "Vip ip", "L2Network": "L2 network", "KVMHost": "KVM host", "enableIPAM": "Enable IPAM"} {
		if got := spoken(name); got != want {
			t.Errorf("spoken(%q) is %q, want %q", name, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for one, want := range map[string]string{"vm": "vms", "policy": "policies", "ip-address": "ip-addresses", "gateway": "gateways", "": ""} {
		if got := plural(one); got != want {
			t.Errorf("plural(%q) is %q, want %q", one, got, want)
		}
	}
}

func TestVerbs(t *testing.T) {
	l2, l3, vm := [][]string{{"L2", "Network"}}, [][]string{{"L3", "Network"}}, [][]string{{"Vm", "Instance"}, {"vm"}}
	for _, c := range []struct {
		message       string
		names, others [][]string
		create        bool
		verb, variant string
	}{
		{"APIAttachL2NetworkToClusterMsg", l2, [][]string{{"Cluster"}}, false, "attach", ""},
		{"APIAttachNetworkServiceToL3NetworkMsg", l3, nil, false, "attach-network-service", ""},
		{"APIAddDnsToL3NetworkMsg", l3, nil, false, "add-dns", ""},
		{"APIStartVmInstanceMsg", vm, nil, false, "start", ""},
		{"APIChangeVmInstanceStateMsg", vm, nil, false, "change-state", ""},
		{"APIAttachL3NetworkToVmMsg", vm, l3, false, "attach-l3-network", ""},
		{"APISetVmBootOrderMsg", vm, nil, false, "set-boot-order", ""},
		{"APIAddKVMHostMsg", [][]string{{"Host"}}, nil, true, "add", "kvm"},
		{"APICreateL2NoVlanNetworkMsg", l2, nil, true, "create", "no-vlan"},
		{"APIAddIpRangeByNetworkCidrMsg", [][]string{{"Ip", "Range"}}, nil, true, "add", "by-network-cidr"},
		{"APICreateDataVolumeMsg", [][]string{{"data", "volume"}, {"Volume"}}, nil, true, "create", ""},
		{"APIDeleteDataVolumeMsg", [][]string{{"Volume"}, {"data", "volume"}}, nil, false, "delete", ""},
		{"APIPingMsg", nil, nil, false, "ping", ""},
	} {
		if verb, variant := verbOf(c.message, c.names, c.others, c.create); verb != c.verb || variant != c.variant {
			t.Errorf("%s is %q %q, want %q %q", c.message, verb, variant, c.verb, c.variant)
		}
	}
}

func TestUnitsAndFormats(t *testing.T) {
	for _, c := range []struct {
		rules            []rule
		name, kind, want string
	}{
		{units, "memorySize", "long", "bytes"}, {units, "size", "long", "bytes"}, {units, "cpuSpeed", "long", "megahertz"},
		{units, "cpuNum", "long", "count"}, {units, "totalCpuCapacity", "long", ""}, {units, "totalCapacity", "long", "bytes"}, {units, "size", "string", ""}, {units, "resize", "long", ""}, {units, "deviceId", "long", ""},
		{formats, "vipIp", "string", "ip"}, {formats, "ip", "string", "ip"}, {formats, "chip", "string", ""}, {formats, "sshPort", "int", "port"},
		{formats, "networkCidr", "string", "cidr"}, {formats, "hostUuid", "string", "uuid"}, {formats, "url", "string", "url"},
	} {
		got := ""
		if p := byName(c.rules, c.name, c.kind); p != nil {
			got = *p
		}
		if got != c.want {
			t.Errorf("%s of kind %s is %q, want %q", c.name, c.kind, got, c.want)
		}
	}
}
