package provider_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// What depends on a guest or its NIC goes when that is expunged, which is no cascade:
// rows at once, and with them what the plugin has made for them; or it forgets the
// guest.
func TestDependentsOfAnExpungedGuest(t *testing.T) {
	y := &yard{}
	of := func(name, to, column, rule string, calls bool) *pluginv1.ResourceTypeDecl {
		return &pluginv1.ResourceTypeDecl{Name: name, Path: "/" + strings.ToLower(name) + "-things", Owned: true, Calls: calls, Caption: say(name),
			Fields: []*pluginv1.Field{{Name: column, Caption: say(to)}, {Name: "flag", Caption: say("Flag"), Fact: calls}},
			Edges:  []*pluginv1.EdgeDecl{{Name: "of", To: to, Column: column, OnDelete: rule, Inverse: "thing" + name}},
			Create: &pluginv1.ResourceMessage{}}
	}
	label := of("Label", "VmNic", "nicUuid", "cascade", false)
	camera := of("Camera", "VmInstance", "vmUuid", "cascade", true)
	note := of("Note", "VmInstance", "guestUuid", "detach", false)
	c := cloudtest.New(t, y.plugin(label, camera, note))
	vm := c.VM(c.Site(), nil)
	uuid, nic := vm.Text("uuid"), vm.Rows("vmNics")[0].Text("uuid")
	c.Create("APICreateLabelMsg", P{"name": "l", "nicUuid": nic})
	c.Create("APICreateCameraMsg", P{"name": "c", "vmUuid": uuid})
	n := c.Create("APICreateNoteMsg", P{"name": "n", "guestUuid": uuid})
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": uuid})
	c.Want("labels of a destroyed guest, which can be recovered", len(c.List("Label")), 1)
	c.Want("what the plugin has", y.count(), 1)
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": uuid})
	c.Want("labels", len(c.List("Label")), 0)
	c.Want("cameras", len(c.List("Camera")), 0)
	c.Want("the note's guest", c.Get("Note", n)["guestUuid"], nil)
	if _, err := c.Kernel.Cascade.Collect(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	c.Want("what the plugin has after it was cleaned up", y.count(), 0)
}
