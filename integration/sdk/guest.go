package sdk

import (
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
)

// Hostname is the guest's, told by a system tag.
const Hostname = "web"

func (w *walker) create(t *testing.T) {
	vm, err := w.c.CreateVmInstance(param.CreateVmInstanceParam{
		BaseParam: param.BaseParam{SystemTags: []string{"hostname::" + Hostname}, UserTags: []string{"blue"}},
		Params: param.CreateVmInstanceDetailParam{Name: "guest", InstanceOfferingUUID: w.offering, ImageUUID: w.image,
			L3NetworkUuids: []string{w.l3}, DataDiskSizes: []int64{1 << 30}, Strategy: param.InstantStart}})
	must(t, vm, err)
	w.vm = vm.UUID
	check(t, "state", vm.State, "Running")
	check(t, "number of NICs", len(vm.VMNics), 1)
	check(t, "number of volumes", len(vm.AllVolumes), 2)
	if t.Failed() {
		t.FailNow()
	}
	for _, v := range vm.AllVolumes {
		if v.UUID != vm.RootVolumeUUID {
			w.dataVolume = v.UUID
		}
	}
	w.b.Up(t, vm, 1)
	found, err := w.c.QueryVmInstance(q("vmNics.ip="+vm.VMNics[0].IP, "state=Running"))
	if must(t, found, err); len(found) != 1 || found[0].UUID != vm.UUID {
		t.Errorf("guests with its address: %+v", found)
	}
}

func (w *walker) tags(t *testing.T) {
	tagged, err := w.c.QueryVmInstance(q("__userTag__=blue", "__systemTag__=hostname::"+Hostname))
	check(t, "number of guests with its tags", len(must(t, tagged, err)), 1)
	tag, err := w.c.CreateUserTag(param.CreateTagParam{Params: param.CreateTagDetailParam{ResourceType: param.ResourceTypeVmInstanceVO, ResourceUuid: w.vm, Tag: "green"}})
	must(t, tag, err)
	tags, err := w.c.QueryUserTag(q("resourceUuid=" + w.vm))
	check(t, "number of user tags", len(must(t, tags, err)), 2)
	for _, tag := range tags {
		if tag.Tag == "green" {
			if err := w.c.DeleteTag(tag.Uuid, param.DeleteModePermissive); err != nil {
				t.Error(err)
			}
		}
	}
	tags, err = w.c.QueryUserTag(q("resourceUuid=" + w.vm))
	check(t, "number of user tags without the one deleted", len(must(t, tags, err)), 1)
	system, err := w.c.QuerySystemTags(q("resourceUuid="+w.vm, "tag~=hostname%"))
	check(t, "number of system tags", len(must(t, system, err)), 1)
}

func (w *walker) stopAndStart(t *testing.T) {
	stopped, err := w.c.StopVmInstance(w.vm, param.StopVmInstanceParam{StopVmInstance: param.StopVmInstanceDetailParam{Type: param.Cold}})
	check(t, "state after stop", must(t, stopped, err).State, "Stopped")
	w.b.Down(t, w.vm)
	started, err := w.c.StartVmInstance(w.vm, nil)
	must(t, started, err)
	w.running(t, "start", 2)
	rebooted, err := w.c.RebootVmInstance(w.vm)
	must(t, rebooted, err)
	w.running(t, "reboot", 3)
}

// running expects that the guest was started for the n-th time.
func (w *walker) running(t *testing.T, after string, n int) {
	t.Helper()
	now, err := w.c.GetVmInstance(w.vm)
	check(t, "state after "+after, must(t, now, err).State, "Running")
	w.b.Up(t, now, n)
}

func (w *walker) destroy(t *testing.T) {
	if err := w.c.DestroyVmInstance(w.vm, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	now, err := w.c.GetVmInstance(w.vm)
	check(t, "state after destroy", must(t, now, err).State, "Destroyed")
	w.b.Down(t, w.vm)
	if err := w.c.ExpungeVmInstance(w.vm); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.GetVmInstance(w.vm); err == nil {
		t.Error("the expunged guest is still there")
	}
	w.b.Down(t, w.vm)
	// A guest's data outlives it.
	volume, err := w.c.GetVolume(w.dataVolume)
	check(t, "guest of the data volume", must(t, volume, err).VMInstanceUUID, "")
	if err := w.c.DeleteDataVolume(w.dataVolume, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	if err := w.c.ExpungeDataVolume(w.dataVolume); err != nil {
		t.Fatal(err)
	}
	w.b.Audit()
}
