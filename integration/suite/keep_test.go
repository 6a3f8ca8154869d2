package suite

import (
	"net/http"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// becomes waits until a guest is in a state, and returns it.
func (l *lab) becomes(uuid, state string) object {
	l.Helper()
	var vm object
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if vm = l.get(wire.VMs, uuid); vm.text("state") == state {
			return vm
		}
	}
	l.Fatalf("guest %s is %s; want %s", uuid, vm.text("state"), state)
	return nil
}

// A guest that shall never stop is started again, whatever stopped it, unless it
// was stopped for good.
func TestNeverStop(t *testing.T) {
	each(t, false, func(l *lab) {
		l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("no"), "systemTags": []string{"ha::OnHostFailure"}})
		l.set("ha", "neverStopVm.scan.interval", "1")
		cold := wire.Params{"type": "cold"}
		forGood := wire.Params{"type": "cold", "stopHA": "true"}
		vm, witness := l.vm("kept", nil, "ha::NeverStop").text("uuid"), l.vm("witness", nil, "ha::NeverStop").text("uuid")
		path := wire.VMs + "/" + vm
		// scanned waits until all stopped guests have been looked at: the witness
		// runs again then.
		scanned := func() {
			l.Helper()
			l.act(wire.VMs+"/"+witness, "stopVmInstance", cold)
			l.becomes(witness, "Running")
		}
		l.act(path, "stopVmInstance", cold)
		l.becomes(vm, "Running")

		l.want("state", l.act(path, "stopVmInstance", forGood).text("state"), "Stopped")
		l.want("tags", l.tags(vm), "ha::NeverStop inhibitHA::true")
		scanned()
		l.want("state of a guest stopped for good", l.get(wire.VMs, vm).text("state"), "Stopped")
		l.act(path, "startVmInstance", nil)
		l.want("tags", l.tags(vm), "ha::NeverStop")
		l.act(path, "stopVmInstance", cold)
		host := l.becomes(vm, "Running").text("hostUuid")

		l.remove(wire.Hosts + "/" + host)
		if now := l.becomes(vm, "Running").text("hostUuid"); now == host {
			l.Errorf("it runs on host %s, which was deleted", now)
		}

		l.remove("/tags/" + l.query("/system-tags", "resourceUuid="+vm, "tag=ha::NeverStop")[0].text("uuid"))
		l.act(path, "stopVmInstance", forGood)
		l.want("tags of a guest that may stop", l.tags(vm), "")
		scanned()
		l.want("state of a guest that may stop", l.get(wire.VMs, vm).text("state"), "Stopped")
		for _, uuid := range []string{vm, witness} {
			l.remove(wire.VMs + "/" + uuid)
			l.act(wire.VMs+"/"+uuid, "expungeVmInstance", nil)
		}
	})
}
