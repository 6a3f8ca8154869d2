package cloudtest_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A guest lives through all its services.
func TestSiteTakesAGuest(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	vm := c.VM(s, nil)
	if vm.Text("state") != "Running" || vm.Text("hostUuid") != s.Host || len(vm.Rows("vmNics")) != 1 {
		t.Fatalf("got %v", vm)
	}
	if st := c.World.Guests(s.Host)[vm.Text("uuid")]; st != pluginv1.VMState_VM_STATE_RUNNING {
		t.Fatalf("on the host it is %v", st)
	}
	c.Do("APIStopVmInstanceMsg", cloudtest.P{"uuid": vm.Text("uuid")})
	c.Do("APIDestroyVmInstanceMsg", cloudtest.P{"uuid": vm.Text("uuid")})
	c.Do("APIExpungeVmInstanceMsg", cloudtest.P{"uuid": vm.Text("uuid")})
	if c.Get("VmInstance", vm.Text("uuid")) != nil || c.World.Volumes() != 0 {
		t.Fatalf("left over: %d volumes", c.World.Volumes())
	}
}
