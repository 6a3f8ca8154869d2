package driver

import (
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The types on the wire, as in upstream's enumeration of them; the service
// provider's is our own, for upstream's simulator has none.
const (
	hypervisorType = "Simulator"
	primaryType    = "SimulatorPrimaryStorage"
	backupType     = "SimulatorBackupStorage"
	l2Type         = "L2NoVlanNetwork"
	l2VLANType     = "L2VlanNetwork" // plugin vlan says what it is
	providerType   = "Simulator"
)

const (
	settingFaults      = "faults"
	settingCPURatio    = "cpuRatio"
	settingMemoryRatio = "memoryRatio"
	settingStrictNICs  = "strictNics"

	defaultCPURatio    = "10"
	defaultMemoryRatio = "1"
	defaultStrictNICs  = "true"
)

// methods are the names that fault rules may use.
var methods = map[string]bool{
	"ConnectHost": true, "CheckHost": true, "DisconnectHost": true, "WatchHost": true, "StartVM": true, "StopVM": true,
	"RebootVM": true, "DestroyVM": true, "ListVMs": true, "PauseVM": true, "ResumeVM": true, "AttachNIC": true, "DetachNIC": true,
	"MigrateVM": true, "EndMigration": true,
	"ConnectStorage": true, "AttachHost": true, "DetachHost": true, "StorageCapacity": true, "EnsureImage": true,
	"DeleteCachedImage": true, "CreateVolume": true, "DeleteVolume": true, "ResizeVolume": true, "ListVolumes": true,
	"ConnectStore": true, "StoreCapacity": true, "AddImage": true, "DeleteImage": true, "ExportImage": true,
	"Realize": true, "Unrealize": true,
	methodApply: true, methodRemove: true, "SyncNetworkState": true,
}

// A call of ApplyNetworkState that only takes away is a method of its own to fault
// rules: a guest's stop is not its start.
const (
	methodApply  = "ApplyNetworkState"
	methodRemove = "RemoveNetworkState"
)

func manifest(version string) *pluginv1.Manifest {
	return &pluginv1.Manifest{
		Name:        "simulator",
		Version:     version,
		Caption:     pluginsdk.Say("Simulator", "模拟器"),
		Description: "Simulated hosts, storages and networks, with faults on request",
		Hypervisors: []*pluginv1.HypervisorDecl{{
			Type: hypervisorType,
			Add: &pluginv1.AddMessage{
				Message: "APIAddSimulatorHostMsg", Path: "/hosts/simulators", Subtype: "SimulatorHost",
				InventoryClass: "org.zstack.header.simulator.SimulatorHostInventory",
				Caption:        pluginsdk.Say("Simulated host", "模拟物理机"), Doc: pluginsdk.Say("A host that is not there, for tests.", "用于测试的虚构物理机。"),
			},
			Fields: []*pluginv1.Field{
				called(size("memoryCapacity", true, "1000000000", "Memory of the host in bytes"), "Memory", "内存容量"),
				called(size("cpuCapacity", true, "1000000000", "CPUs of the host"), "CPUs", "CPU数量"),
			},
			VolumeFormat: "qcow2",
			VolumeBuses:  []*pluginv1.VolumeBus{{Tag: "capability::virtio-scsi", Bus: "scsi"}},
			Devices: []*pluginv1.DeviceSet{
				{Name: "virtio", NicModel: "virtio"},
				{Name: "emulated", VolumeBus: "sata", NicModel: "e1000", Everywhere: true},
			},
			BootModes: []*pluginv1.BootMode{
				{Name: "Legacy", Firmware: "bios"}, {Name: "UEFI", Firmware: "uefi"},
				{Name: "UEFI_WITH_CSM", Refused: "UEFI firmware (edk2) has no compatibility support module any more"},
			},
			ConsolePasswordLength: 8,
			Optional:              []string{"pause", "attach-nic", "migrate"},
			MaxNics:               32,
		}},
		PrimaryStorages: []*pluginv1.PrimaryStorageDecl{{
			Type: primaryType,
			Add: &pluginv1.AddMessage{
				Message: "APIAddSimulatorPrimaryStorageMsg", Path: "/primary-storage/simulators", Subtype: "SimulatorPrimaryStorage",
				InventoryClass: "org.zstack.header.storage.primary.PrimaryStorageInventory",
				Caption:        pluginsdk.Say("Simulated primary storage", "模拟主存储"), Doc: pluginsdk.Say("A primary storage that keeps nothing, for tests.", "用于测试、不保存数据的主存储。"),
			},
			Fields: []*pluginv1.Field{
				size("totalCapacity", false, "100000000", "Size in bytes that upstream's accounting begins with"),
				size("availableCapacity", false, "10000000", "Bytes of it that are available"),
				size("totalPhysicalCapacity", false, "10000000", "Size in bytes that the storage has"),
				size("availablePhysicalCapacity", false, "10000000", "Bytes of it that are available before Kumo uses it"),
			},
			HypervisorTypes: []string{hypervisorType},
			Optional:        []string{"resize", "list"},
		}},
		BackupStorages: []*pluginv1.BackupStorageDecl{{
			Type: backupType,
			Add: &pluginv1.AddMessage{
				Message: "APIAddSimulatorBackupStorageMsg", Path: "/backup-storage/simulators", Subtype: "SimulatorBackupStorage",
				InventoryClass: "org.zstack.header.storage.backup.BackupStorageInventory",
				Caption:        pluginsdk.Say("Simulated backup storage", "模拟镜像服务器"), Doc: pluginsdk.Say("A backup storage that keeps nothing, for tests.", "用于测试、不保存数据的镜像服务器。"),
			},
			Fields: []*pluginv1.Field{
				size("totalCapacity", false, "0", "Size of the storage in bytes"),
				size("availableCapacity", false, "0", "Bytes of it that are available before Kumo uses it"),
			},
			PrimaryStorageTypes: []string{primaryType},
		}},
		L2Networks: []*pluginv1.L2NetworkDecl{{
			Type: l2Type, HypervisorTypes: []string{hypervisorType},
			Switches: []*pluginv1.Switch{{Name: "LinuxBridge", Caption: pluginsdk.Say("Linux bridge", "Linux网桥")}},
			Add: &pluginv1.AddMessage{Message: "APICreateL2NoVlanNetworkMsg", Path: "/l2-networks/no-vlan",
				MessageDoc: "Makes an untagged layer 2 network on a physical interface."},
			Unique: []string{"physicalInterface"},
			Refuses: []*pluginv1.Refusal{
				{Parameter: "isolated", Reason: "the network does not keep its guests apart"},
				{Parameter: "pvlan", Reason: "the network has no private VLANs"},
			},
		}, {Type: l2VLANType, HypervisorTypes: []string{hypervisorType}}},
		NetworkServices: []*pluginv1.NetworkServiceDecl{{
			Type: providerType, Name: "Simulator Network Service Provider",
			Description: "Keeps account of the NICs it was told of",
			Services:    []string{"DHCP", "DNS", "Userdata", "HostRoute"},
			L2Types:     []string{l2Type, l2VLANType}, HypervisorTypes: []string{hypervisorType},
		}},
		Settings: []*pluginv1.SettingDecl{
			{Name: settingFaults, Doc: "Fault rules, such as StartVM:fail=unavailable:nth=3:after; the file \"faults\" in the data folder can hold more"},
			{Name: settingCPURatio, Default: defaultCPURatio, Doc: "How many virtual CPUs a host runs for each CPU it has"},
			{Name: settingMemoryRatio, Default: defaultMemoryRatio, Doc: "How much memory a host gives to VMs, as a multiple of what it has"},
			{Name: settingStrictNICs, Default: defaultStrictNICs, Doc: "Refuse VMs whose NICs were not prepared on networks with services; needs such networks to have L2 networks of their own"},
		},
	}
}

func size(name string, required bool, fallback, doc string) *pluginv1.Field {
	return &pluginv1.Field{Name: name, Kind: "long", Required: required, Default: fallback, Doc: doc, Max: 1<<63 - 1}
}

func called(f *pluginv1.Field, en, zh string) *pluginv1.Field {
	f.Caption = pluginsdk.Say(en, zh)
	return f
}
