package suite

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// A guest can be made with values of its own of settings.
func TestSettingTags(t *testing.T) {
	each(t, false, func(l *lab) {
		vm := l.vm("direct", nil, "resourceConfig::vm::deletionPolicy::Direct").text("uuid")
		l.want("tags", l.tags(vm), "")
		own := l.query("/resource-configurations", "resourceUuid="+vm)
		if len(own) != 1 || own[0].text("value") != "Direct" || own[0].text("name") != "deletionPolicy" {
			l.Fatalf("the guest's own settings are %v", own)
		}
		l.remove(wire.VMs + "/" + vm)
		l.gone(wire.VMs, vm)
		l.want("settings of a guest that is gone", len(l.query("/resource-configurations", "resourceUuid="+vm)), 0)

		for _, wrong := range []string{
			"resourceConfig::vm::deletionPolicy::Sometimes", // no such value
			"resourceConfig::vm::nothing::1",                // no such setting
			"resourceConfig::vm::expungePeriod::5",          // global only
			"resourceConfig::kvm::reservedMemory::1G",       // not of guests
			"resourceConfig::vm::deletionPolicy",            // no value
		} {
			l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("no"), "systemTags": []string{wrong}})
		}
		l.want("guests", len(l.query(wire.VMs)), 0)
		other := l.vm("other", nil)
		l.refused("SYS.1007", http.MethodPost, "/system-tags", map[string]any{"params": wire.Params{"resourceType": "VmInstanceVO",
			"resourceUuid": other.text("uuid"), "tag": "resourceConfig::vm::deletionPolicy::Direct"}})
		l.want("settings of the other guest", len(l.query("/resource-configurations", "resourceUuid="+other.text("uuid"))), 0)
	})
}

// A mark is kept to be queried, and an unknown tag is refused with the known ones.
func TestMarksAndUnknownTags(t *testing.T) {
	each(t, false, func(l *lab) {
		vm := l.vm("marked", nil, "marketplace::true").text("uuid")
		l.vm("plain", nil)
		found := l.query(wire.VMs, "__systemTag__=marketplace::true")
		if len(found) != 1 || found[0].text("uuid") != vm {
			l.Errorf("%d guests have the mark: %v", len(found), found)
		}
		_, err := l.c.Call(l.Context(), http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("no"), "systemTags": []string{"pciDevice::1"}})
		if wire.Code(err) != "SYS.1007" || !strings.Contains(err.Error(), "pciDevice") || !strings.Contains(err.Error(), "hostname::{hostname}") {
			l.Errorf("an unknown tag: %v", err)
		}
	})
}
