package driver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A guest with PCI Express gets cards while it runs, as many as it has ports, and lets
// go of them; what does not run has none.
func TestNICsComeAndGo(t *testing.T) {
	d, host := testDriver(t)
	_, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	vm := prepare(t, agentOf(t, d, host))
	vm.Options = map[string]string{domain.OptionMachine: "q35"}
	t.Cleanup(func() {
		_, err := d.DestroyVM(context.Background(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
		_, err = d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
	})
	card := func(n int) *pluginv1.NIC {
		hex := string("0123456789abcdef"[n])
		return &pluginv1.NIC{Uuid: "c" + strings.Repeat(hex, 31), Mac: "fa:00:00:00:03:0" + hex, Bridge: "br_kvm", InternalName: "hot" + hex}
	}
	attach := func(n *pluginv1.NIC) error {
		_, err := d.AttachNIC(t.Context(), &pluginv1.AttachNICRequest{Host: host, VmUuid: vmUUID, Nic: n})
		return err
	}
	detach := func(n *pluginv1.NIC) error {
		_, err := d.DetachNIC(t.Context(), &pluginv1.DetachNICRequest{Host: host, VmUuid: vmUUID, Nic: n})
		return err
	}
	there := func(n *pluginv1.NIC) bool { _, err := netlink.LinkByName(n.GetInternalName()); return err == nil }

	if err := attach(card(0)); errs.ClassOf(err) != errs.Refused {
		t.Errorf("a guest that does not run: %v", err)
	}
	must(t, detach(card(0)))
	begin := time.Now()
	_, err = d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
	must(t, err)
	waitConsole(t, vmUUID, "GUEST-READY")
	t.Logf("ready after %s", time.Since(begin))

	plugged := 0
	for ; plugged < 16; plugged++ {
		err := attach(card(plugged))
		if errs.ClassOf(err) == errs.Exhausted {
			t.Logf("%d cards, then: %v", plugged, err)
			break
		}
		must(t, err)
		must(t, attach(card(plugged)))
		if !there(card(plugged)) {
			t.Fatalf("card %d is not there", plugged)
		}
	}
	if plugged < 8 || plugged == 16 {
		t.Errorf("%d cards fit in", plugged)
	}
	if there(card(plugged)) {
		t.Error("a card that was refused is there")
	}
	begin = time.Now()
	for n := range plugged {
		must(t, detach(card(n)))
		must(t, detach(card(n)))
		if there(card(n)) {
			t.Errorf("card %d is still there", n)
		}
	}
	t.Logf("%d cards pulled out in %s", plugged, time.Since(begin))
	must(t, attach(card(0)))
	_, err = d.StopVM(t.Context(), &pluginv1.StopVMRequest{Host: host, VmUuid: vmUUID, Cold: true})
	must(t, err)
	must(t, detach(card(0)))
}
