package serve

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// TestReports tries what people reported of clouds like this one: what can never
// work is refused where it is written, by the rule that says so, and what works is
// taken as people write it.
func TestReports(t *testing.T) {
	w := newTenants(t)
	l2, image, offering := w.there["L2Network"][0], w.there["Image"][0], w.there["InstanceOffering"][0]
	l3 := w.network(w.alice, l2, "10.7.0")
	fresh := w.must(w.alice, "APICreateL3NetworkMsg", params{"name": "fresh", "l2NetworkUuid": l2})
	vm := func(name string, tags ...string) params {
		return params{"name": name, "instanceOfferingUuid": offering, "imageUuid": image, "l3NetworkUuids": []string{l3}, "systemTags": tags}
	}
	ranged := func(start, end string) params {
		return params{"l3NetworkUuid": fresh, "name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0", "gateway": "10.9.0.1"}
	}
	mac := func(mac string) params { return vm("mac", "customMac::"+l3+"::"+mac) }
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	keyed := func(text string) params { return params{"name": "k", "publicKey": text} }
	const create, addRange, addKey = "APICreateVmInstanceMsg", "APIAddIpRangeMsg", "APICreateSshKeyPairMsg"
	for _, c := range []struct {
		report, message string
		p               params
		refused         string // what the error says; "" where it is taken
	}{
		// Addresses of no machine: RFC 1122, section 3.2.1.3.
		{"https://github.com/containernetworking/plugins/issues/1295", addRange, ranged("10.9.0.255", "10.9.0.255"), "broadcast"},
		{"https://github.com/containernetworking/plugins/issues/1295", addRange, ranged("10.9.0.0", "10.9.0.0"), "broadcast"},
		{"https://github.com/containernetworking/plugins/issues/1295", addRange, ranged("10.9.0.200", "10.9.0.100"), "below"},
		{"https://github.com/containernetworking/plugins/issues/1295", "APIAddIpRangeByNetworkCidrMsg", params{"l3NetworkUuid": fresh, "name": "r", "networkCidr": "224.1.0.0/24"}, "multicast"},
		{"https://github.com/containernetworking/plugins/issues/1295", "APIAddIpRangeByNetworkCidrMsg", params{"l3NetworkUuid": fresh, "name": "r", "networkCidr": "169.254.0.0/16"}, "link-local"},
		{"https://github.com/SUSE-Cloud/automation/pull/3290", "APIAddDnsToL3NetworkMsg", params{"l3NetworkUuid": l3, "dns": "10.7.0.255"}, "broadcast"},
		{"https://github.com/SUSE-Cloud/automation/pull/3290", "APIAddDnsToL3NetworkMsg", params{"l3NetworkUuid": l3, "dns": "127.0.0.53"}, "loopback"},
		// Of two wishes one would be without effect.
		{"https://github.com/OSU-Net/cyder/issues/543", create, vm("two", "staticIp::"+l3+"::10.7.0.20", "staticIp::"+l3+"::10.7.0.21"), "another one"},
		// Stations have no group address (IEEE 802, 8.2), and a guest must not have the
		// address of its own device on the host.
		{"https://github.com/Telmate/terraform-provider-proxmox/issues/660", create, mac("a3:e9:3d:22:fc:ae"), "multicast"},
		{"https://github.com/shakenfist/shakenfist/issues/24", create, mac("fe:94:0c:39:75:c6"), "fe:"},
		{"https://github.com/kubevirt/kubevirt/issues/1494", create, mac("FE-4F-16-3F-5F-0F"), "fe:"},
		// A host name has up to 63 letters (RFC 1123, 2.1); a guest's own name need not be one.
		{"https://github.com/kubevirt/kubevirt/issues/1223", create, vm(strings.Repeat("n", 64)), ""},
		{"https://github.com/kubevirt/kubevirt/issues/1223", create, vm("long", "hostname::"+strings.Repeat("n", 64)), "63"},
		{"https://github.com/Teradata/stacki/issues/639", create, vm("dash", "hostname::web-"), "'-'"},
		// Base64 is written in lines: RFC 2045, section 6.8.
		{"https://github.com/nimbusproject/nimbus/issues/110", create, vm("b64", "userdata::I2Nsb3VkLWNvbmZpZwpydW5jbWQ6\nIFtscywgL10K\n"), ""},
		{"https://github.com/cloudfoundry/bosh-openstack-cpi-release/issues/255", create, vm("b64-2", "userdata::I2Nsb3VkLWNvbmZpZwpydW5jbWQ6\r\nIFtscywgL10K\r\n"), ""},
		// authorized_keys has comments and empty lines (sshd(8)); a key itself is one line.
		{"https://github.com/ansible/ansible/issues/5432", addKey, keyed("# nueces\n" + key + " nueces"), ""},
		{"https://github.com/tv42/gitosis/issues/12", addKey, keyed("\n# test comments, empty lines\n\n" + key + " test\n\n"), ""},
		{"https://github.com/RustCrypto/SSH/issues/285", addKey, keyed(key + " a comment with blanks"), ""},
		{"https://github.com/canonical/pycloudlib/issues/88", addKey, keyed(key[:40] + "\r\n" + key[40:] + " generated\r\n"), "authorized_keys"},
		{"https://github.com/proftpd/proftpd/issues/1904", addKey, keyed("---- BEGIN SSH2 PUBLIC KEY ----\r\nComment: \"256\"\r\n" + key[12:] + "\r\n---- END SSH2 PUBLIC KEY ----\r\n"), "authorized_keys"},
	} {
		a, ok := w.kernel.Actions.Get(c.message)
		if !ok {
			t.Fatal(c.message)
		}
		switch _, err := w.serve(w.alice, a, c.p, false); {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %s with %.200v: %v", c.report, c.message, c.p, err)
		case c.refused != "" && (errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %s with %.200v: not refused for %q: %v", c.report, c.message, c.p, c.refused, err)
		}
	}
}

// TestReportedNames tries names that people could not find, or found cut.
func TestReportedNames(t *testing.T) {
	w := newTenants(t)
	long := strings.Repeat("🚲", 255)
	for _, c := range []struct{ report, name, asked, op string }{
		{"https://github.com/9001/copyparty/issues/715", "Å2.txt", "å2.TXT", "="},
		{"https://github.com/giowck/symphytum/issues/134", "Βορράς", "ΒΟΡΡΆΣ", "="},
		{"https://github.com/nicolaslopezj/searchable/issues/137", "Россия", "%рОС%", "~="},
		{"https://github.com/fisharebest/webtrees/issues/3813", "Vojtičko", "%vojtiČko%", "~="},
		{"https://github.com/newsboat/newsboat/issues/585", "Ägypten", "ägy%", "~="},
		{"https://github.com/mozilla/fxa-profile-server/issues/186", "rfkelly 🚲 sparkle", "RFKELLY 🚲 sparkle", "="},
		{"https://github.com/PavlidisLab/Gemma/issues/1319", long, long, "="},
		// macOS writes letters and their marks apart, keyboards together (UAX 15).
		{"https://github.com/uewepuep/FPVTracksideCore/pull/75", norm.NFD.String("Müller"), "müller", "="},
		{"https://github.com/ospfranco/sol/pull/329", "캘린더", norm.NFD.String("캘린더"), "="},
		{"https://github.com/lidge-jun/aside-codemode/issues/30", norm.NFD.String("학점인정"), "%점인%", "~="},
		{"https://github.com/unmade/shelf-back/issues/50", "йод", norm.NFD.String("Йо") + "%", "~="},
	} {
		uuid := w.must(w.admin, "APICreateZoneMsg", params{"name": c.name})
		if n := w.total(topology.ZoneType.Type, "", "name"+c.op+c.asked, "uuid="+uuid); n != 1 {
			t.Errorf("%s: %q is not found by %q", c.report, c.name, c.asked)
		}
	}
	// https://github.com/Tatoeba/tatoeba2/issues/282: limits count characters, and
	// what is too long is refused whole and shown without half a character.
	a, _ := w.kernel.Actions.Get("APICreateZoneMsg")
	_, err := w.serve(w.admin, a, params{"name": long + "é"}, false)
	if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "255") || !utf8.ValidString(err.Error()) {
		t.Errorf("256 characters: %v", err)
	}
}
