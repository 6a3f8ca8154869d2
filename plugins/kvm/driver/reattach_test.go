package driver

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A libvirtd that has just started lists the guest as running and waits for its
// QEMU, which here does not answer and then ends: no event tells of that.
func TestGuestEndsWhileLibvirtdReattaches(t *testing.T) {
	d, host := testDriver(t)
	t.Cleanup(func() {
		_, err := d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
	})
	ended := watchIdleGuest(t, d, host)
	emulator, err := strconv.Atoi(strings.TrimSpace(readFile(t, "/run/libvirt/qemu/"+vmUUID+".pid")))
	must(t, err)
	rig.StopLibvirtd(t)
	expectLoss(t, ended)
	must(t, syscall.Kill(emulator, syscall.SIGSTOP))
	rig.StartLibvirtd(t)

	states, _ := watch(t, d, host)
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	must(t, syscall.Kill(emulator, syscall.SIGKILL))
	expectState(t, states, pluginv1.VMState_VM_STATE_STOPPED)
	expectListed(t, d, host)
}
