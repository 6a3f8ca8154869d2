package compute

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"regexp"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// work is the state of the flows on one guest. It is all that a resumed flow
// knows, and is kept in the journal as JSON.
type work struct {
	UUID, Name, AccountUUID string
	Before                  string // state before the flow
	Host                    contract.HostCandidate
	LastHost                string // where it ran last, if it holds no host
	Capacity                bool   // the flow holds CPU and memory of Host
	CPU, Memory             int64
	MaxGuests               int64 `json:",omitempty"` // on the host, when limited
	Platform, Architecture  string
	Volumes                 []*contract.VolumePlan
	NICs                    []*contract.NICPlan
	Guest                   contract.Guest
	Options                 map[string]string
	BootOrder               []string
	Cold                    bool
	Grace                   int32
	Keep                    bool // leave the guest Stopped after its creation
	Row                     *VMInstance
	CdRom                   *VMCdRom
	Tags, UserTags          []string
	Places                  []contract.Place
	NICWishes               []contract.NICWish
	NICDriver               string
	pluginHost              *pluginv1.Host
}

// Tag patterns of guests (spec: compute and storage, section 2.4).
const (
	tagUserData    = "userdata::{userdata}"
	tagSSHKey      = "sshkey::{sshkey}"
	tagHostname    = "hostname::{hostname}"
	tagStaticIP    = "staticIp::{l3NetworkUuid}::{staticIp}"
	tagCustomMAC   = "customMac::{l3NetworkUuid}::{mac}"
	tagConsolePass = "consolePassword::{consolePassword}"
	tagBootOrder   = "bootOrder::{bootOrder}"
	// tagDriver says which devices a guest sees; virtio without it.
	tagDriver = "driver::{driver}"
	// tagMarketplace marks a guest that came from a marketplace of images; it is
	// there to be queried and changes nothing.
	tagMarketplace = "marketplace::true"
)

// label is one label of a DNS name (RFC 1123, section 2.1).
var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func (s *Service) registerTags() error {
	var failed error
	def := func(pattern string, validate func(tokens map[string]string) error) {
		p := tag.Pattern{Resource: "VmInstance", Pattern: pattern, Validate: validate}
		if pattern == tagConsolePass {
			p.Secret = "consolePassword"
		}
		p.Single = pattern == tagHostname
		failed = errors.Join(failed, s.Tags.Define(p))
	}
	bad := func(field, format string, args ...any) error {
		return errs.New(errs.Invalid, "system tag "+field, format, args...)
	}
	def(tagUserData, func(t map[string]string) error {
		if _, err := base64.StdEncoding.DecodeString(t["userdata"]); err != nil {
			return bad("userdata", "its value is not base64")
		}
		return nil
	})
	def(tagSSHKey, func(t map[string]string) error {
		if strings.ContainsAny(t["sshkey"], "\r\n\x00") || len(t["sshkey"]) > 16384 {
			return bad("sshkey", "a key is one line of at most 16384 bytes")
		}
		return nil
	})
	def(tagHostname, func(t map[string]string) error {
		if !label.MatchString(t["hostname"]) {
			return bad("hostname", "%q is not a host name (RFC 1123)", t["hostname"])
		}
		return nil
	})
	def(tagStaticIP, func(t map[string]string) error {
		if _, err := netip.ParseAddr(t["staticIp"]); err != nil {
			return bad("staticIp", "%q is not an IP address", t["staticIp"])
		}
		return nil
	})
	def(tagCustomMAC, nil)
	def(tagConsolePass, func(t map[string]string) error {
		if p := t["consolePassword"]; strings.HasPrefix(p, "password") || p == "" || len(p) > 8 {
			return bad("consolePassword", "has 1 to 8 characters (the VNC protocol's limit, RFC 6143) and does not start with \"password\"")
		}
		return nil
	})
	def(tagBootOrder, func(t map[string]string) error {
		for _, d := range strings.Split(t["bootOrder"], ",") {
			if bootDevices[d] == "" {
				return bad("bootOrder", "%q is not one of HardDisk, CdRom, Network", d)
			}
		}
		return nil
	})
	def(tagDriver, func(t map[string]string) error {
		if t["driver"] != "virtio" && t["driver"] != emulated {
			return bad("driver", "%q is not virtio or %s", t["driver"], emulated)
		}
		return nil
	})
	def(tagMarketplace, nil)
	for _, t := range contract.ImageTags {
		def(t.Pattern, t.Check)
	}
	return failed
}

// firmwares are the hypervisors' names of boot modes.
var firmwares = map[string]string{contract.BootLegacy: "bios", contract.BootUEFI: "uefi"}

// emulated are devices for which every system has drivers: SATA disks and e1000
// NICs.
const emulated = "emulated"

var bootDevices = map[string]string{"HardDisk": "hd", "CdRom": "cdrom", "Network": "network"}

// load fills work with what the database has of a guest.
func (s *Service) load(ctx context.Context, q store.Querier, uuid string) (*VMInstance, *work, error) {
	vm, err := store.Get(ctx, q, VMType, uuid)
	if err != nil {
		return nil, nil, err
	}
	w := &work{UUID: uuid, Name: vm.Name, AccountUUID: vm.AccountUUID, Before: vm.State, CPU: vm.CPUNum, Memory: vm.MemorySize,
		Platform: vm.Platform, Architecture: vm.Architecture, LastHost: vm.LastHostUUID,
		Host: contract.HostCandidate{UUID: vm.HostUUID, ClusterUUID: vm.ClusterUUID, ZoneUUID: vm.ZoneUUID, HypervisorType: vm.HypervisorType}}
	if w.Volumes, err = s.storage.OfVM(ctx, q, uuid); err != nil {
		return nil, nil, err
	}
	if w.NICs, err = s.networks.OfVM(ctx, q, uuid); err != nil {
		return nil, nil, err
	}
	cds, err := store.Find(ctx, q, CdRomType, "`vmInstanceUuid` = ? AND `isoUuid` IS NOT NULL ORDER BY `deviceId`", uuid)
	if err != nil {
		return nil, nil, err
	}
	for _, cd := range cds {
		w.CdRom = cd
	}
	tags, err := s.Tags.Of(ctx, q, uuid)
	if err != nil {
		return nil, nil, err
	}
	s.readTags(w, tags, vm.DefaultL3NetworkUUID)
	return vm, w, nil
}

// readTags takes from a guest's system tags what its hypervisor and network
// services need to know.
func (s *Service) readTags(w *work, tags []string, defaultL3 string) {
	w.Guest = contract.Guest{VMUUID: w.UUID, Name: w.Name, DefaultL3UUID: defaultL3, Hostnames: map[string]string{}}
	w.Options, w.BootOrder = map[string]string{}, []string{"hd"}
	if w.CdRom != nil {
		w.BootOrder = []string{"cdrom", "hd"}
	}
	hostname := ""
	for _, t := range tags {
		if m, ok := tag.Match(tagUserData, t); ok {
			data, err := base64.StdEncoding.DecodeString(m["userdata"])
			if err == nil { // it was checked when the tag was made
				w.Guest.UserData = data
			}
		}
		if m, ok := tag.Match(tagSSHKey, t); ok {
			w.Guest.SSHKeys = append(w.Guest.SSHKeys, m["sshkey"])
		}
		if m, ok := tag.Match(tagHostname, t); ok {
			hostname = m["hostname"]
		}
		if m, ok := tag.Match(tagDriver, t); ok {
			w.Options["driver"] = m["driver"]
		}
		if m, ok := tag.Match(contract.TagBootMode, t); ok {
			w.Options["firmware"] = firmwares[m["bootMode"]]
		}
		if m, ok := tag.Match(tagConsolePass, t); ok {
			w.Options["consolePassword"] = m["consolePassword"]
		}
		if m, ok := tag.Match(tagBootOrder, t); ok {
			w.BootOrder = nil
			for _, d := range strings.Split(m["bootOrder"], ",") {
				w.BootOrder = append(w.BootOrder, bootDevices[d])
			}
		}
	}
	w.nameNICs(hostname)
}

// nameNICs gives each address a host name: on the default network the wished
// one or the guest's name when it is one, elsewhere one made of the address.
func (w *work) nameNICs(hostname string) {
	if hostname == "" && label.MatchString(w.Name) {
		hostname = w.Name
	}
	for _, n := range w.NICs {
		if n.L3UUID == w.Guest.DefaultL3UUID && hostname != "" {
			w.Guest.Hostnames[n.L3UUID] = hostname
		} else if n.IP != "" {
			w.Guest.Hostnames[n.L3UUID] = strings.ReplaceAll(n.IP, ".", "-")
		}
	}
}

// room is what the guest takes of its host.
func (w *work) room() contract.Room {
	return contract.Room{CPU: w.CPU, Memory: w.Memory, MaxGuests: w.MaxGuests}
}

// host returns the flow's host as its plugin sees it, read once per run.
func (s *Service) host(ctx context.Context, w *work) (*pluginv1.Host, error) {
	if w.pluginHost != nil && w.pluginHost.GetUuid() == w.Host.UUID {
		return w.pluginHost, nil
	}
	h, err := s.hosts.PluginHost(ctx, s.Store, w.Host.UUID)
	w.pluginHost = h
	return h, err
}

// bus is how the guest sees a volume.
func (w *work) bus(v *contract.VolumePlan) string {
	if w.Options["driver"] == emulated {
		return "sata"
	}
	return v.Bus
}

// spec describes the guest to its hypervisor.
func (w *work) spec() *pluginv1.VM {
	vm := &pluginv1.VM{Uuid: w.UUID, Name: w.Name, CpuNum: int32(w.CPU), MemoryBytes: w.Memory, Architecture: w.Architecture,
		Platform: w.Platform, BootOrder: w.BootOrder, ConsolePassword: w.Options["consolePassword"], Firmware: w.Options["firmware"]}
	for _, v := range w.Volumes {
		if v.ISO {
			continue // what the CD-ROM below has in it
		}
		vm.Disks = append(vm.Disks, &pluginv1.Disk{Uuid: v.UUID, Source: v.InstallPath, Format: v.Format, DeviceId: int32(v.DeviceID),
			SizeBytes: v.Size, Bus: w.bus(v)})
	}
	if w.CdRom != nil && w.CdRom.ISOInstallPath != "" {
		vm.Disks = append(vm.Disks, &pluginv1.Disk{Uuid: w.CdRom.UUID, Source: w.CdRom.ISOInstallPath, Format: "raw",
			DeviceId: int32(w.CdRom.DeviceID), Cdrom: true})
	}
	for _, n := range w.NICs {
		vm.Nics = append(vm.Nics, &pluginv1.NIC{Uuid: n.UUID, Mac: n.MAC, DeviceId: int32(n.DeviceID), Bridge: n.Bridge,
			InternalName: n.InternalName, Mtu: n.MTU, Driver: n.Driver})
	}
	return vm
}
