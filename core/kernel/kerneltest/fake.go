package kerneltest

import (
	"context"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The types of everything that Fake's plugin has: a hypervisor, and one that
// declares no devices and boot modes, a storage in which all hosts share, one in
// which none does, a store of images, a network and its services. A second
// provider of services has an address of its own in each network that it serves.
const (
	FakeType          = "Fake"
	FakePlainType     = "FakePlain"
	FakeLocalType     = "FakeLocal"
	FakeAddressedType = "FakeAddressed"
	FakeL2Type        = "FakeL2Network"
)

// Fake is a small world behind a plugin of every strategy. It keeps what it is
// told to keep and gives plain answers; refusals and delays come by Calls.
type Fake struct {
	mu sync.Mutex
	// vms has the guests by host and guest, volumes the volumes (volumeAt).
	vms      map[string]map[string]pluginv1.VMState
	nics     map[string]map[string]bool // of guests that run, those that came meanwhile
	volumes  map[string]bool
	watchers map[string][]chan *pluginv1.VMStatus
	watched  *sync.Cond // told of each new one
	// facts of hosts by management IP; others have those of DefaultFacts.
	facts map[string]*pluginv1.HostFacts
	// space of storages by where they are; others have DefaultSpace.
	space map[place]*pluginv1.Capacity
	// images has the images by store and image.
	images map[string]map[string]bool
	// checks are what is found of hosts, by host and check; those that are not in it
	// are as they should be.
	checks map[string]map[string]string
	// uploads are those that wait for an image's bytes, or have got them.
	uploads map[string]chan struct{}
	// subscriptions are the manifest's, before what is answered before calls.
	subscriptions []*pluginv1.Subscription
	before        func(*pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error)
}

// NewFake returns an empty world.
func NewFake() *Fake {
	f := &Fake{vms: map[string]map[string]pluginv1.VMState{}, nics: map[string]map[string]bool{}, volumes: map[string]bool{},
		watchers: map[string][]chan *pluginv1.VMStatus{}, facts: map[string]*pluginv1.HostFacts{},
		space: map[place]*pluginv1.Capacity{}, images: map[string]map[string]bool{}, checks: map[string]map[string]string{}, uploads: map[string]chan struct{}{}}
	f.watched = sync.NewCond(&f.mu)
	return f
}

// DefaultFacts are those of a host: 8 processors and 32 GiB of memory.
func DefaultFacts() *pluginv1.HostFacts {
	return &pluginv1.HostFacts{CpuNum: 8, CpuMhz: 2000, CpuSockets: 1, MemoryBytes: 32 << 30, Architecture: "x86_64"}
}

// Facts sets what the host of a management IP says of itself when it is
// connected next.
func (f *Fake) Facts(managementIP string, facts *pluginv1.HostFacts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.facts[managementIP] = facts
}

// FakeRequired and FakeOptional are the checks of Fake's hosts: one that a host must
// pass, and one that is only shown.
const (
	FakeRequired = "engine"
	FakeOptional = "paint"
)

// Check sets what is found of a host's check from now on; "" is that it is as it
// should be.
func (f *Fake) Check(host, name, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.checks[host] == nil {
		f.checks[host] = map[string]string{}
	}
	f.checks[host][name] = reason
}

// checksOf is called with the lock held.
func (f *Fake) checksOf(host string) []*pluginv1.HostCheck {
	return []*pluginv1.HostCheck{
		{Name: FakeRequired, Reason: f.checks[host][FakeRequired]}, {Name: FakeOptional, Reason: f.checks[host][FakeOptional]},
	}
}

// Guests returns the state of each guest on a host, by the guest's UUID.
func (f *Fake) Guests(host string) map[string]pluginv1.VMState {
	f.mu.Lock()
	defer f.mu.Unlock()
	guests := map[string]pluginv1.VMState{}
	for uuid, st := range f.vms[host] {
		guests[uuid] = st
	}
	return guests
}

// Volumes counts the volumes in all storages.
func (f *Fake) Volumes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.volumes)
}

// Set makes a guest on a host be in a state by itself (a crash, a shutdown
// from inside) and tells who watches the host.
func (f *Fake) Set(host, vm string, st pluginv1.VMState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(host, vm, st)
}

// Changed tells who watches a host that something of it has changed that is no guest.
// It waits until somebody does.
func (f *Fake) Changed(host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.watchers[host]) == 0 {
		f.watched.Wait()
	}
	for _, w := range f.watchers[host] {
		w <- nil
	}
}

// set is called with the lock held; STOPPED takes the guest away.
func (f *Fake) set(host, vm string, st pluginv1.VMState) {
	if f.vms[host] == nil {
		f.vms[host] = map[string]pluginv1.VMState{}
	}
	f.vms[host][vm] = st
	if st == pluginv1.VMState_VM_STATE_STOPPED {
		delete(f.vms[host], vm)
		delete(f.nics, vm)
	}
	for _, w := range f.watchers[host] {
		w <- &pluginv1.VMStatus{Uuid: vm, State: st}
	}
}

// Plugin returns the plugin of the world, for Options.Plugins. Another plugin
// of the same world would declare the same types: make a second world.
func (f *Fake) Plugin() pluginsdk.Plugin {
	p := f.plugin()
	if len(f.subscriptions) > 0 {
		p.Manifest.Subscriptions, p.Observer = f.subscriptions, observer{f}
	}
	return p
}

func (f *Fake) plugin() pluginsdk.Plugin {
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "fake", Version: "1",
			Hypervisors: []*pluginv1.HypervisorDecl{{Type: FakeType, VolumeFormat: "raw", VolumeBuses: []*pluginv1.VolumeBus{{Tag: "capability::virtio-scsi", Bus: "scsi"}},
				Devices: []*pluginv1.DeviceSet{{Name: "virtio", NicModel: "virtio"}, {Name: "emulated", VolumeBus: "sata", NicModel: "e1000", Everywhere: true}},
				BootModes: []*pluginv1.BootMode{
					{Name: "Legacy", Firmware: "bios"}, {Name: "UEFI", Firmware: "uefi"},
					{Name: "UEFI_WITH_CSM", Refused: "UEFI firmware (edk2) has no compatibility support module any more"},
				}, GuestOptions: []*pluginv1.GuestOption{
					{Name: "machine", Tag: "vmMachineType::{vmMachineType}", Choices: []*pluginv1.GuestChoice{
						{Value: "new", Architecture: "x86_64", Usual: true}, {Value: "old", Architecture: "x86_64"}, {Value: "arm", Architecture: "aarch64", Usual: true}}},
					{Name: "processor", SettingCategory: "fake", SettingName: "vm.processor", Doc: "What guests compute with.",
						Choices: []*pluginv1.GuestChoice{{Value: "plain", Usual: true}, {Value: "fast"}, {Value: "best"}}},
				}, ConsolePasswordLength: 8, Optional: []string{pluginsdk.OptionalPause, pluginsdk.OptionalAttachNIC, pluginsdk.OptionalMigrate}, MaxNics: FakeMaxNICs,
				Checks: []*pluginv1.HostCheckDecl{{Name: FakeRequired, Required: true}, {Name: FakeOptional}},
				Add:    &pluginv1.AddMessage{Message: "APIAddFakeHostMsg", Path: "/hosts/fake"}},
				{Type: FakePlainType, VolumeFormat: "raw", Add: &pluginv1.AddMessage{Message: "APIAddFakePlainHostMsg", Path: "/hosts/fake-plain"}}},
			PrimaryStorages: []*pluginv1.PrimaryStorageDecl{
				{Type: FakeType, HypervisorTypes: []string{FakeType, FakePlainType}, Add: &pluginv1.AddMessage{Message: "APIAddFakePrimaryStorageMsg", Path: "/primary-storage/fake"}},
				{Type: FakeLocalType, HostLocal: true, HypervisorTypes: []string{FakeType},
					Add: &pluginv1.AddMessage{Message: "APIAddFakeLocalPrimaryStorageMsg", Path: "/primary-storage/fake-local"}},
			},
			BackupStorages: []*pluginv1.BackupStorageDecl{{Type: FakeType, Fields: []*pluginv1.Field{{Name: "shelf", Kind: "string", Default: "top"}},
				Add: &pluginv1.AddMessage{Message: "APIAddFakeBackupStorageMsg", Path: "/backup-storage/fake", UpdateMessage: "APIUpdateFakeBackupStorageMsg",
					Subtype: "FakeBackupStorage", InventoryClass: "org.fake.FakeBackupStorageInventory"}}},
			L2Networks: []*pluginv1.L2NetworkDecl{{
				Type: "L2NoVlanNetwork", Switches: []*pluginv1.Switch{{Name: "FakeSwitch"}, {Name: "OtherSwitch"}},
				Add:    &pluginv1.AddMessage{Message: "APICreateL2NoVlanNetworkMsg", Path: "/l2-networks/no-vlan"},
				Unique: []string{"physicalInterface"},
				Refuses: []*pluginv1.Refusal{
					{Parameter: "isolated", Reason: "the network does not keep its guests apart"},
					{Parameter: "pvlan", Reason: "the network has no private VLANs"},
				},
			}, {
				Type: FakeL2Type, Add: &pluginv1.AddMessage{Message: "APICreateFakeL2NetworkMsg", Path: "/l2-networks/fake", Query: true,
					Subtype: "FakeL2Network", InventoryClass: "org.fake.FakeL2NetworkInventory"},
				Fields: []*pluginv1.Field{{Name: "lane", Kind: "int", Required: true, Min: 1, Max: 99}, {Name: "colour"}},
				Unique: []string{"physicalInterface", "lane"}, Number: "lane",
			}},
			NetworkServices: []*pluginv1.NetworkServiceDecl{
				{Type: FakeType, Name: "fake network services", Services: []string{"DHCP", "Userdata"}, L2Types: []string{"L2NoVlanNetwork"}, HypervisorTypes: []string{FakeType}},
				{Type: FakeAddressedType, Name: "fake services with an address", Services: []string{"DNS", "SNAT", "Userdata"}, HypervisorTypes: []string{FakeType},
					ServiceIp: true, ServiceIpTag: "fakeAddress::{ip}::{uuid}"},
			},
		},
		Hypervisor: hypervisor{f}, PrimaryStorage: primary{f}, BackupStorage: backup{f}, L2Network: l2{}, NetworkService: &services{at: map[served]string{}},
	}
}

type hypervisor struct{ *Fake }

func (h hypervisor) ConnectHost(_ context.Context, r *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	facts := h.facts[r.GetHost().GetManagementIp()]
	if facts == nil {
		facts = DefaultFacts()
	}
	return &pluginv1.ConnectHostResponse{Facts: facts, Checks: h.checksOf(r.GetHost().GetUuid())}, nil
}

func (h hypervisor) CheckHost(_ context.Context, r *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &pluginv1.CheckHostResponse{Checks: h.checksOf(r.GetHost().GetUuid())}, nil
}

func (hypervisor) DisconnectHost(context.Context, *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	return &pluginv1.DisconnectHostResponse{}, nil
}

func (h hypervisor) WatchHost(ctx context.Context, r *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	host := r.GetHost().GetUuid()
	changes := make(chan *pluginv1.VMStatus, 1024)
	h.mu.Lock()
	for vm, st := range h.vms[host] {
		changes <- &pluginv1.VMStatus{Uuid: vm, State: st}
	}
	h.watchers[host] = append(h.watchers[host], changes)
	h.watched.Broadcast()
	h.mu.Unlock()
	defer h.unwatch(host, changes)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case st := <-changes:
			if err := emit(st); err != nil {
				return err
			}
		}
	}
}

func (h hypervisor) unwatch(host string, changes chan *pluginv1.VMStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rest []chan *pluginv1.VMStatus
	for _, w := range h.watchers[host] {
		if w != changes {
			rest = append(rest, w)
		}
	}
	h.watchers[host] = rest
}

func (h hypervisor) StartVM(_ context.Context, r *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	return &pluginv1.StartVMResponse{Status: h.run(r.GetHost(), r.GetVm().GetUuid())}, nil
}

func (h hypervisor) run(host *pluginv1.Host, vm string) *pluginv1.VMStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(host.GetUuid(), vm, pluginv1.VMState_VM_STATE_RUNNING)
	return &pluginv1.VMStatus{Uuid: vm, State: pluginv1.VMState_VM_STATE_RUNNING}
}

func (h hypervisor) StopVM(_ context.Context, r *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error) {
	h.Set(r.GetHost().GetUuid(), r.GetVmUuid(), pluginv1.VMState_VM_STATE_STOPPED)
	return &pluginv1.StopVMResponse{}, nil
}

func (h hypervisor) RebootVM(_ context.Context, r *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error) {
	return &pluginv1.RebootVMResponse{Status: h.run(r.GetHost(), r.GetVm().GetUuid())}, nil
}

func (h hypervisor) DestroyVM(_ context.Context, r *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error) {
	h.Set(r.GetHost().GetUuid(), r.GetVmUuid(), pluginv1.VMState_VM_STATE_STOPPED)
	return &pluginv1.DestroyVMResponse{}, nil
}

func (h hypervisor) ListVMs(_ context.Context, r *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	var list []*pluginv1.VMStatus
	for vm, st := range h.Guests(r.GetHost().GetUuid()) {
		if r.GetVmUuid() == "" || r.GetVmUuid() == vm {
			list = append(list, &pluginv1.VMStatus{Uuid: vm, State: st})
		}
	}
	return &pluginv1.ListVMsResponse{Vms: list}, nil
}

func (h hypervisor) PauseVM(_ context.Context, r *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	return &pluginv1.PauseVMResponse{}, h.turn(r.GetHost().GetUuid(), r.GetVmUuid(), pluginv1.VMState_VM_STATE_PAUSED)
}

func (h hypervisor) ResumeVM(_ context.Context, r *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	return &pluginv1.ResumeVMResponse{}, h.turn(r.GetHost().GetUuid(), r.GetVmUuid(), pluginv1.VMState_VM_STATE_RUNNING)
}

// turn changes the state of a guest that is there.
func (h hypervisor) turn(host, vm string, st pluginv1.VMState) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.vms[host][vm]; !ok {
		return errs.New(errs.Refused, "VM "+vm, "it does not run")
	}
	h.set(host, vm, st)
	return nil
}
