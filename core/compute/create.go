package compute

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

var platforms = []string{"Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"}

// maxDataDisks bounds the data volumes of one guest (spec section 3).
const maxDataDisks = 24

// newVM holds the parameters of APICreateVmInstanceMsg.
type newVM struct {
	Name               string              `api:"name,required,max=255"`
	Description        string              `api:"description,max=2048"`
	InstanceOffering   string              `api:"instanceOfferingUuid,resource=InstanceOffering" where:"state=Enabled"`
	CPUNum             *int                `api:"cpuNum"`
	MemorySize         *int64              `api:"memorySize"`
	ReservedMemorySize *int64              `api:"reservedMemorySize,range=0:9223372036854775807,advanced"`
	Image              string              `api:"imageUuid,resource=Image,noempty" where:"state=Enabled status=Ready"`
	L3s                []string            `api:"l3NetworkUuids,resource=L3Network,section=network" where:"state=Enabled"`
	NICParams          string              `api:"vmNicParams,advanced,section=network"`
	Type               string              `api:"type,values=UserVm|ApplianceVm,advanced"`
	RootOffering       string              `api:"rootDiskOfferingUuid,resource=DiskOffering,advanced,section=disks" where:"state=Enabled"`
	RootSize           *int64              `api:"rootDiskSize,advanced,section=disks"`
	DataSizes          []int64             `api:"dataDiskSizes,advanced,section=disks"`
	DataOfferings      []string            `api:"dataDiskOfferingUuids,resource=DiskOffering,section=disks" where:"state=Enabled"`
	Zone               string              `api:"zoneUuid,resource=Zone,advanced,section=placement" where:"state=Enabled"`
	Cluster            string              `api:"clusterUuid,resource=Cluster,advanced,section=placement" where:"state=Enabled zoneUuid=$zoneUuid"`
	Host               string              `api:"hostUuid,resource=Host,advanced,section=placement" where:"state=Enabled status=Connected clusterUuid=$clusterUuid"`
	RootPrimary        string              `api:"primaryStorageUuidForRootVolume,resource=PrimaryStorage,advanced,section=placement" where:"state=Enabled status=Connected"`
	DefaultL3          string              `api:"defaultL3NetworkUuid,resource=L3Network,advanced,section=network" where:"uuid?=$l3NetworkUuids"`
	Strategy           string              `api:"strategy,default=InstantStart,values=InstantStart|JustCreate|CreateStopped,advanced"`
	RootTags           []string            `api:"rootVolumeSystemTags,advanced,section=disks"`
	DataTags           []string            `api:"dataVolumeSystemTags,advanced,section=disks"`
	DataTagsOnIndex    map[string][]string `api:"dataVolumeSystemTagsOnIndex,advanced,section=disks"`
	SSHKeyPairs        []string            `api:"sshKeyPairUuids,resource=SshKeyPair,section=access"`
	Platform           string              `api:"platform,values=Linux|Windows|Other|Paravirtualization|WindowsVirtio,advanced,section=system"`
	GuestOSType        string              `api:"guestOsType,max=255,advanced,section=system"`
	Architecture       string              `api:"architecture,max=32,values=x86_64|aarch64|mips64el|loongarch64,advanced,section=system"`
	UsualDrivers       *bool               `api:"virtio,advanced,section=system"`
}

func (s *Service) registerCreate() {
	action.Register(s.Actions, action.Action{
		Message: "APICreateVmInstanceMsg", Method: "POST", Path: "/vm-instances", Async: true, Create: true, Access: action.Normal,
		Returns: "VmInstance", Kind: "vm", On: s.whichHost, Timeout: 12 * hour, View: action.View{Progress: true}, Doc: "Makes a guest from an image and, by default, starts it.",
	}, func(ctx context.Context, c *action.Call, p *newVM) (action.Ref, error) {
		ref := action.Ref{Type: "VmInstance", UUID: c.ResourceUUID}
		st, err := s.plan(ctx, c, p)
		if err != nil {
			return ref, err
		}
		return ref, flow.Run(ctx, s.Flows, s.create, st, flowOf(c, st.UUID))
	})
}

// plan checks the request and decides all that can be decided by reading; the
// flow then only has to take what was chosen, and finds out when that has
// changed. Nothing is changed.
func (s *Service) plan(ctx context.Context, c *action.Call, p *newVM) (*creation, error) {
	if p.Type != "" && p.Type != "UserVm" {
		return nil, errs.New(errs.Invalid, "type", "%s is not for this call: appliances are made by the services that need them", p.Type).
			WithAdvice("use UserVm")
	}
	if p.Strategy == "JustCreate" {
		return nil, errs.New(errs.Invalid, "strategy", "JustCreate is not offered").WithAdvice("use CreateStopped")
	}
	st := &creation{guest: guest{UUID: c.ResourceUUID, Name: p.Name, Account: c.Caller.AccountUUID, State: Created, Points: s.Hooks.At(pointNames...)}, StayStopped: p.Strategy == "CreateStopped",
		Row: &VMInstance{Type: "UserVm", State: Starting, InstanceOfferingUUID: p.InstanceOffering, ImageUUID: p.Image}, Tags: c.SystemTags, UserTags: c.UserTags}
	st.Row.UUID, st.Row.Name, st.Row.Description, st.Row.AccountUUID = st.UUID, p.Name, p.Description, c.Caller.AccountUUID
	// What guests are made from rarely changes, and many are made at once. What is
	// read need not be of one moment, as the flow finds out what has changed.
	q := store.Cached(s.Store)
	if err := s.planSize(ctx, q, p, st); err != nil {
		return nil, err
	}
	zone, err := s.planNetworks(ctx, q, p, st)
	if err != nil {
		return nil, err
	}
	img, err := s.planImage(ctx, q, p, st, zone)
	if err != nil {
		return nil, err
	}
	if err := s.planVolumes(ctx, q, p, st, img); err != nil {
		return nil, err
	}
	if err := s.planTags(ctx, q, p, st, img); err != nil {
		return nil, err
	}
	return st, s.planPlaces(ctx, q, p, st, img, zone)
}

func (s *Service) planSize(ctx context.Context, q store.Querier, p *newVM, st *creation) error {
	var cpu, memory int64
	switch {
	case p.InstanceOffering != "":
		o, err := store.Get(ctx, q, InstanceOfferingType, p.InstanceOffering)
		if err != nil {
			return err
		}
		if o.State != "Enabled" {
			return errs.New(errs.Refused, "instance offering "+o.Name, "is %s", o.State).WithAdvice("enable it, or use another one")
		}
		if o.Type != "UserVm" {
			return errs.New(errs.Invalid, "instanceOfferingUuid", "offering %s is of type %s, not UserVm", o.Name, o.Type)
		}
		cpu, memory = o.CPUNum, o.MemorySize
		st.Row.AllocatorStrategy = o.AllocatorStrategy
	case p.CPUNum == nil || p.MemorySize == nil:
		return errs.New(errs.Invalid, "instanceOfferingUuid", "give an instance offering, or both cpuNum and memorySize")
	}
	// ZStack's Go client sends 0 for both when it names an offering.
	if p.CPUNum != nil && *p.CPUNum != 0 {
		cpu = int64(*p.CPUNum)
	}
	if p.MemorySize != nil && *p.MemorySize != 0 {
		memory = *p.MemorySize
	}
	switch {
	case cpu < 1 || cpu > 1024:
		return errs.New(errs.Invalid, "cpuNum", "%d is not between 1 and 1024", cpu)
	case memory < 1<<20:
		return errs.New(errs.Invalid, "memorySize", "%d bytes are less than a MiB", memory)
	case p.ReservedMemorySize != nil && *p.ReservedMemorySize > 0:
		return checkReserved(*p.ReservedMemorySize)
	}
	st.CPU, st.Memory = cpu, memory
	st.Row.CPUNum, st.Row.MemorySize = cpu, memory
	return nil
}

// planNetworks checks the networks, and the addresses and MACs wished for by
// system tags; it returns the networks' zone.
func (s *Service) planNetworks(ctx context.Context, q store.Querier, p *newVM, st *creation) (string, error) {
	if len(p.L3s) == 0 && p.Zone == "" && p.Cluster == "" && p.Host == "" {
		return "", errs.New(errs.Invalid, "l3NetworkUuids", "give at least one L3 network, or a zone, cluster or host")
	}
	if p.NICParams != "" {
		return "", errs.New(errs.Invalid, "vmNicParams", "is not offered").WithAdvice("use the system tags staticIp:: and customMac::")
	}
	defaultL3 := p.DefaultL3
	switch {
	case len(p.L3s) == 1 && defaultL3 == "":
		defaultL3 = p.L3s[0]
	case len(p.L3s) > 1 && defaultL3 == "":
		return "", errs.New(errs.Invalid, "defaultL3NetworkUuid", "must be given with several L3 networks")
	}
	zone, err := s.networks.Check(ctx, q, p.L3s)
	if err != nil {
		return "", err
	}
	index := map[string]int{}
	for i, uuid := range p.L3s {
		index[uuid] = i
		st.NICWishes = append(st.NICWishes, contract.NICWish{L3UUID: uuid})
	}
	if _, ok := index[defaultL3]; !ok && defaultL3 != "" {
		return "", errs.New(errs.Invalid, "defaultL3NetworkUuid", "%s is not among l3NetworkUuids", defaultL3)
	}
	st.Row.DefaultL3NetworkUUID = defaultL3
	if err := s.domainFits(ctx, q, defaultL3, told(st.Tags, tagHostname, "hostname")); err != nil {
		return "", err
	}
	for _, t := range st.Tags {
		for _, pattern := range []string{tagStaticIP, tagCustomMAC} {
			m, ok := tag.Match(pattern, t)
			if !ok {
				continue
			}
			i, known := index[m["l3NetworkUuid"]]
			if !known {
				return "", errs.New(errs.Invalid, "system tag "+t, "L3 network %s is not among l3NetworkUuids", m["l3NetworkUuid"])
			}
			if pattern == tagStaticIP {
				st.NICWishes[i].IP = m["staticIp"]
			} else {
				st.NICWishes[i].MAC = m["mac"]
			}
		}
	}
	return cmp.Or(zone, p.Zone), nil
}

func (s *Service) planImage(ctx context.Context, q store.Querier, p *newVM, st *creation, zone string) (*contract.Image, error) {
	if p.Image == "" {
		return nil, errs.New(errs.Invalid, "imageUuid", "is missing: a guest is made from an image")
	}
	img, err := s.images.Usable(ctx, q, p.Image, zone)
	if err != nil {
		return nil, err
	}
	if img.MediaType == "DataVolumeTemplate" {
		return nil, errs.New(errs.Invalid, "imageUuid", "image %s is a %s; use a RootVolumeTemplate or an ISO", img.Name, img.MediaType)
	}
	st.Platform, st.Architecture = cmp.Or(p.Platform, img.Platform), cmp.Or(p.Architecture, img.Architecture)
	st.Row.Platform, st.Row.Architecture, st.Row.GuestOSType = st.Platform, st.Architecture, cmp.Or(p.GuestOSType, img.GuestOSType)
	return img, nil
}

// planVolumes lists the volumes to make, and the drive of a guest that is made
// from an ISO.
func (s *Service) planVolumes(ctx context.Context, q store.Querier, p *newVM, st *creation, img *contract.Image) error {
	offering, wished, err := s.rootSize(ctx, q, p)
	if err != nil {
		return err
	}
	root := &contract.VolumePlan{UUID: resource.NewUUID(), Name: volumeName("ROOT-for-", p.Name, ""), Type: "Root", AccountUUID: st.Row.AccountUUID, VMUUID: st.UUID,
		DiskOfferingUUID: offering}
	if img.MediaType == "ISO" {
		if wished == 0 {
			return errs.New(errs.Invalid, "rootDiskOfferingUuid", "a guest that boots ISO %s needs a root disk offering or rootDiskSize", img.Name)
		}
		root.Size = wished
		st.planDrive(img)
	} else {
		root.ImageUUID, root.Size = img.UUID, max(img.Size, wished)
	}
	st.Row.RootVolumeUUID, st.Volumes = root.UUID, []*contract.VolumePlan{root}
	sizes := append([]int64(nil), p.DataSizes...)
	offerings := make([]string, len(sizes))
	for _, uuid := range p.DataOfferings {
		o, err := s.diskOffering(ctx, q, uuid)
		if err != nil {
			return err
		}
		sizes, offerings = append(sizes, o.DiskSize), append(offerings, uuid)
	}
	if len(sizes) > maxDataDisks {
		return errs.New(errs.Invalid, "dataDiskOfferingUuids", "%d data volumes are more than %d", len(sizes), maxDataDisks)
	}
	for i, size := range sizes {
		if err := checkSize("dataDiskSizes", size); err != nil {
			return err
		}
		st.Volumes = append(st.Volumes, &contract.VolumePlan{UUID: resource.NewUUID(), Name: volumeName("DATA-for-", p.Name, fmt.Sprintf("-%d", i+1)), Type: "Data",
			AccountUUID: st.Row.AccountUUID, VMUUID: st.UUID, DiskOfferingUUID: offerings[i], Size: size, DeviceID: int64(i + 1)})
	}
	return nil
}

// volumeName names a volume after its guest, of whose name it has as many
// characters as a name may have.
func volumeName(before, guest, after string) string {
	name := []rune(guest)
	return before + string(name[:min(len(name), 255-len(before)-len(after))]) + after
}

// planDrive gives the guest a CD-ROM drive with an ISO in it.
func (st *creation) planDrive(iso *contract.Image) {
	st.CdRom = &VMCdRom{VMInstanceUUID: st.UUID, ISOUUID: iso.UUID}
	st.CdRom.UUID, st.CdRom.Name = resource.NewUUID(), "vm-"+st.UUID+"-cdRom"
	st.Drives = []drive{{UUID: st.CdRom.UUID, DeviceID: st.CdRom.DeviceID}}
}

// rootSize is what is wished for as the root volume, 0 for nothing, and the
// offering that says so.
func (s *Service) rootSize(ctx context.Context, q store.Querier, p *newVM) (offering string, size int64, err error) {
	switch {
	case p.RootOffering != "":
		o, err := s.diskOffering(ctx, q, p.RootOffering)
		if err != nil {
			return "", 0, err
		}
		return o.UUID, o.DiskSize, checkSize("rootDiskOfferingUuid", o.DiskSize)
	case p.RootSize != nil:
		return "", *p.RootSize, checkSize("rootDiskSize", *p.RootSize)
	}
	return "", 0, nil
}

// checkSize refuses what is no size of a volume.
func checkSize(param string, size int64) error {
	if size < 1 || size > contract.MaxVolumeSize {
		return errs.New(errs.Invalid, param, "%d bytes is no size of a volume; one has 1 to %d", size, int64(contract.MaxVolumeSize))
	}
	return nil
}

func (s *Service) diskOffering(ctx context.Context, q store.Querier, uuid string) (*DiskOffering, error) {
	o, err := store.Get(ctx, q, DiskOfferingType, uuid)
	if err == nil && o.State != "Enabled" {
		err = errs.New(errs.Refused, "disk offering "+o.Name, "is %s", o.State).WithAdvice("enable it, or use another one")
	}
	return o, err
}

// planPlaces finds hosts, and for each the storage; the flow takes the first
// that still has room. All are of the best one's hypervisor, for which the NICs
// are made.
func (s *Service) planPlaces(ctx context.Context, q store.Querier, p *newVM, st *creation, img *contract.Image, zone string) error {
	if p.Zone != "" && zone != "" && p.Zone != zone {
		return errs.New(errs.Invalid, "zoneUuid", "the L3 networks are in zone %s, not in %s", zone, p.Zone)
	}
	if st.Row.AllocatorStrategy == contract.PlaceDesignated && p.Zone == "" && p.Cluster == "" && p.Host == "" {
		return errs.New(errs.Invalid, "allocatorStrategy "+contract.PlaceDesignated, "the place is to be named, but is not").
			WithAdvice("give a hostUuid, clusterUuid or zoneUuid, or use another offering")
	}
	var err error
	if st.MaxGuests, err = s.maxGuests(ctx, q, st.Row, st.Tags); err != nil {
		return err
	}
	r := contract.HostRequest{Room: st.room(st.MaxGuests), ZoneUUID: cmp.Or(p.Zone, zone), ClusterUUID: p.Cluster, HostUUID: p.Host,
		Architecture: st.Architecture, Strategy: st.Row.AllocatorStrategy}
	if r.Reachable, err = s.reachable(ctx, store.Cached(q), p.L3s); err != nil {
		return err
	}
	hosts, err := s.hosts.Candidates(ctx, q, r)
	if err != nil {
		return err
	}
	if hosts, err = s.able(hosts, st.Name, st.Architecture, s.asked(st.Tags)); err != nil {
		return err
	}
	var size int64
	for _, v := range st.Volumes {
		size += v.Size
	}
	places, err := s.storage.Places(ctx, q, contract.PlaceRequest{Hosts: hosts, Size: size, Image: img, PrimaryUUID: p.RootPrimary})
	if err != nil {
		return err
	}
	st.HypervisorType = places[0].Host.HypervisorType
	if hv, err := s.Plugins.Hypervisor(st.HypervisorType); err == nil && hv.Decl.GetMaxNics() > 0 && len(p.L3s) > int(hv.Decl.GetMaxNics()) {
		return errs.New(errs.Invalid, "l3NetworkUuids", "%d NICs are more than hypervisor %s gives a guest: %d", len(p.L3s), st.HypervisorType, hv.Decl.GetMaxNics()).
			WithAdvice("name fewer networks")
	}
	st.Places = slices.DeleteFunc(places, func(pl contract.Place) bool { return pl.Host.HypervisorType != st.HypervisorType })
	if err := s.planDevices(p, st, img); err != nil {
		return err
	}
	return s.planChoices(st)
}
