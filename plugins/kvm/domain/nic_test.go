package domain

import (
	"errors"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A card that comes while the guest runs is what the guest is started with next time.
func TestNICIsThatOfTheDefinition(t *testing.T) {
	vm := sample()
	text, err := Build(vm, options())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range vm.GetNics() {
		alone, err := NIC(uuid, n)
		if err != nil {
			t.Fatal(err)
		}
		var x libvirtxml.DomainInterface
		if err := x.Unmarshal(alone); err != nil || x.MAC.Address != n.GetMac() {
			t.Errorf("%s does not read back: %v", alone, err)
		}
		flat := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if !strings.Contains(flat(text), flat(alone)) {
			t.Errorf("the definition has no\n%s", alone)
		}
		if has, err := HasNIC(text, n.GetUuid()); !has || err != nil {
			t.Errorf("NIC %s is not found: %v", n.GetUuid(), err)
		}
	}
	if has, err := HasNIC(text, vol); has || err != nil {
		t.Errorf("a NIC is found that there is not: %v", err)
	}
	if _, err := HasNIC("<", vol); err == nil {
		t.Error("broken XML was read")
	}
	for name, change := range map[string]func(*pluginv1.NIC){
		"UUID": func(n *pluginv1.NIC) { n.Uuid = "x" }, "MAC": func(n *pluginv1.NIC) { n.Mac = "x" },
		"bridge": func(n *pluginv1.NIC) { n.Bridge = "" }, "model": func(n *pluginv1.NIC) { n.Driver = "ne2000" },
	} {
		n := sample().GetNics()[0]
		change(n)
		if _, err := NIC(uuid, n); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
