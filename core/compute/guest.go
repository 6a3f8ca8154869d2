package compute

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// guest is a guest as the database has it: what the flows on one have in common.
// The state of each flow is this, or embeds it and adds what that flow alone
// needs. It is all that a resumed flow knows, and is kept in the journal as JSON.
type guest struct {
	UUID, Name, Account    string
	State                  string // when the flow began
	Host                   string // where it is, or is to be; "" when nowhere
	LastHost               string // where it ran last
	CPU, Memory            int64
	Platform, Architecture string
	Volumes                []*contract.VolumePlan
	NICs                   []*contract.NICPlan
	Drives                 []drive
	Told                   contract.Guest // by network services
	options
	Points hook.Points `json:",omitempty"` // what plugins do at points of the flow

	pluginHost *pluginv1.Host // Host, when it has been read
}

// drive is a CD-ROM drive with an image in it.
type drive struct {
	UUID     string
	DeviceID int64
	Path     string // of the image; "" until that is there
	Image    string `json:",omitempty"` // its UUID
}

// options are what a guest's system tags tell its hypervisor.
type options struct {
	Devices, BootMode, ConsolePassword string
	BootOrder                          []string
	Choices                            map[string]string `json:",omitempty"` // of the hypervisor's guest options, by name
}

// seat is what a flow takes of a guest's host.
type seat struct {
	MaxGuests int64 `json:",omitempty"` // on the host, when limited
	Taken     bool  // the flow holds CPU and memory of the host
}

// load returns what the database has of a guest.
func (s *Service) load(ctx context.Context, q store.Querier, uuid string) (*VMInstance, *guest, error) {
	vm, err := store.Get(ctx, q, VMType, uuid)
	if err != nil {
		return nil, nil, err
	}
	g := &guest{UUID: uuid, Name: vm.Name, Account: vm.AccountUUID, State: vm.State, Host: vm.HostUUID, LastHost: vm.LastHostUUID, CPU: vm.CPUNum, Memory: vm.MemorySize,
		Platform: vm.Platform, Architecture: vm.Architecture}
	if g.Volumes, err = s.storage.OfVM(ctx, q, uuid); err != nil {
		return nil, nil, err
	}
	if g.NICs, err = s.networks.OfVM(ctx, q, uuid); err != nil {
		return nil, nil, err
	}
	cds, err := store.Find(ctx, q, CdRomType, "`vmInstanceUuid` = ? AND `isoUuid` IS NOT NULL ORDER BY `deviceId`", uuid)
	if err != nil {
		return nil, nil, err
	}
	for _, cd := range cds {
		g.Drives = append(g.Drives, drive{cd.UUID, cd.DeviceID, cd.ISOInstallPath, cd.ISOUUID})
	}
	tags, err := s.Tags.Of(ctx, q, uuid)
	if err != nil {
		return nil, nil, err
	}
	s.describe(g, tags, vm.DefaultL3NetworkUUID)
	g.nameNICs(hostnameOf(vm, tags))
	return vm, g, nil
}

// ready is load of a guest whose state allows an operation.
func (s *Service) ready(ctx context.Context, uuid, op string) (*VMInstance, *guest, error) {
	vm, g, err := s.load(ctx, s.Store, uuid)
	if err != nil {
		return nil, nil, err
	}
	g.Points = s.Hooks.At(pointNames...)
	return vm, g, checkState(vm, op)
}

// describe takes from a guest's system tags what its hypervisor and network
// services need to know, but for its names. The NICs and drives are there.
func (s *Service) describe(g *guest, tags []string, defaultL3 string) {
	g.Told = contract.Guest{VMUUID: g.UUID, Name: g.Name, DefaultL3UUID: defaultL3, Hostnames: map[string]string{}}
	g.options = options{BootOrder: []string{"hd"}, Devices: devicesOf(tags), BootMode: bootModeOf(tags), Choices: s.choicesOf(tags)}
	if len(g.Drives) > 0 {
		g.BootOrder = []string{"cdrom", "hd"}
	}
	for _, t := range tags {
		if m, ok := tag.Match(tagUserData, t); ok {
			data, err := base64.StdEncoding.DecodeString(m["userdata"])
			if err == nil { // it was checked when the tag was made
				g.Told.UserData = data
			}
		}
		if m, ok := tag.Match(tagSSHKey, t); ok {
			g.Told.SSHKeys = append(g.Told.SSHKeys, strings.Split(m["sshkey"], "\n")...)
		}
		if m, ok := tag.Match(tagConsolePass, t); ok {
			g.ConsolePassword = m["consolePassword"]
		}
		if m, ok := tag.Match(tagBootOrder, t); ok {
			g.BootOrder = nil
			for _, d := range strings.Split(m["bootOrder"], ",") {
				g.BootOrder = append(g.BootOrder, bootDevices[d])
			}
		}
	}
}

// devicesOf is the set of devices that a guest's tags ask for, "" for the usual one.
func devicesOf(tags []string) string { return told(tags, tagDriver, "driver") }

func bootModeOf(tags []string) string { return told(tags, contract.TagBootMode, "bootMode") }

// told is what the newest tag of a pattern says.
func told(tags []string, pattern, key string) string {
	for _, t := range slices.Backward(tags) {
		if m, ok := tag.Match(pattern, t); ok {
			return m[key]
		}
	}
	return ""
}

// able leaves of hosts those whose hypervisor has the devices, the boot mode and
// the choices that a guest asks for. When none does, the error says what the first
// lacks.
func (s *Service) able(hosts []contract.HostCandidate, name, architecture string, o options) ([]contract.HostCandidate, error) {
	if o.Devices == "" && o.BootMode == "" && len(o.Choices) == 0 {
		return hosts, nil
	}
	var lacks error
	offers := map[string]bool{}
	left := slices.DeleteFunc(slices.Clone(hosts), func(h contract.HostCandidate) bool {
		ok, known := offers[h.HypervisorType]
		if !known {
			hv, err := s.Plugins.Hypervisor(h.HypervisorType)
			if err == nil {
				err = cmp.Or(hv.Offers(o.Devices, o.BootMode), hv.Chooses(o.Choices, architecture))
			}
			lacks, ok = cmp.Or(lacks, err), err == nil
			offers[h.HypervisorType] = ok
		}
		return !ok
	})
	if len(left) == 0 && lacks != nil {
		return nil, errs.Wrap(errs.Refused, "VM "+name, lacks, "no host has what its system tags ask for").
			WithAdvice("leave out the tag, or use hosts of another hypervisor")
	}
	return left, nil
}

// room is what the guest takes of its host.
func (g *guest) room(maxGuests int64) contract.Room {
	return contract.Room{CPU: g.CPU, Memory: g.Memory, MaxGuests: maxGuests}
}

// host returns the guest's host as its plugin sees it, read once per run.
func (s *Service) host(ctx context.Context, g *guest) (*pluginv1.Host, error) {
	if g.pluginHost != nil && g.pluginHost.GetUuid() == g.Host {
		return g.pluginHost, nil
	}
	h, err := s.hosts.PluginHost(ctx, s.Store, g.Host)
	g.pluginHost = h
	return h, err
}

// spec describes the guest to its hypervisor.
func (s *Service) spec(ctx context.Context, g *guest, hv *plugin.Hypervisor) *pluginv1.VM {
	vm := g.spec(hv)
	vm.Options = s.options(ctx, g, hv)
	return vm
}

func (g *guest) spec(hv *plugin.Hypervisor) *pluginv1.VM {
	devices := hv.Devices(g.Devices)
	vm := &pluginv1.VM{Uuid: g.UUID, Name: g.Name, CpuNum: int32(g.CPU), MemoryBytes: g.Memory, Architecture: g.Architecture,
		Platform: g.Platform, BootOrder: g.BootOrder, ConsolePassword: g.ConsolePassword, Firmware: hv.Firmware(g.BootMode)}
	for _, v := range g.Volumes {
		vm.Disks = append(vm.Disks, &pluginv1.Disk{Uuid: v.UUID, Source: v.InstallPath, Format: v.Format, DeviceId: int32(v.DeviceID),
			SizeBytes: v.Size, Bus: cmp.Or(devices.GetVolumeBus(), v.Bus)})
	}
	for _, d := range g.Drives {
		if d.Path != "" {
			vm.Disks = append(vm.Disks, &pluginv1.Disk{Uuid: d.UUID, Source: d.Path, Format: "raw", DeviceId: int32(d.DeviceID), Cdrom: true})
		}
	}
	for _, n := range g.NICs {
		vm.Nics = append(vm.Nics, nicSpec(n))
	}
	return vm
}

func nicSpec(n *contract.NICPlan) *pluginv1.NIC {
	return &pluginv1.NIC{Uuid: n.UUID, Mac: n.MAC, DeviceId: int32(n.DeviceID), Bridge: n.Bridge, InternalName: n.InternalName, Mtu: n.MTU, Driver: n.Driver}
}

// deleteBits deletes a volume by its own host or, if it is on no particular one,
// by another that has its storage.
func (s *Service) deleteBits(ctx context.Context, v *contract.VolumePlan, otherHost string) error {
	h, err := s.hosts.PluginHost(ctx, s.Store, cmp.Or(v.HostUUID, otherHost))
	if v.HostUUID != "" && errs.ClassOf(err) == errs.NotFound {
		return nil // the bits went with their host
	}
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		return err
	}
	return s.storage.Unmake(ctx, h, v)
}
