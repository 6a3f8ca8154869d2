package compute

import (
	"cmp"
	"context"
	"fmt"

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
	Virtio             *bool               `api:"virtio,advanced,section=system"`
}

func (s *Service) registerCreate() {
	action.Register(s.Actions, action.Action{
		Message: "APICreateVmInstanceMsg", Method: "POST", Path: "/vm-instances", Async: true, Create: true, Access: action.Normal,
		Returns: "VmInstance", Kind: "vm", Timeout: 12 * hour, Doc: "Makes a guest from an image and, by default, starts it.",
	}, func(ctx context.Context, c *action.Call, p *newVM) (action.Ref, error) {
		ref := action.Ref{Type: "VmInstance", UUID: c.ResourceUUID}
		w, err := s.plan(ctx, c, p)
		if err != nil {
			return ref, err
		}
		return ref, flow.Run(ctx, s.Flows, s.create, w,
			flow.Options{Job: c.Job, Key: w.UUID, ResourceType: ref.Type, ResourceUUID: w.UUID})
	})
}

// plan checks the request and decides all that can be decided by reading; the
// flow then only has to take what was chosen, and finds out when that has
// changed. Nothing is changed.
func (s *Service) plan(ctx context.Context, c *action.Call, p *newVM) (*work, error) {
	w := &work{UUID: c.ResourceUUID, Name: p.Name, AccountUUID: c.Caller.AccountUUID, Before: Created,
		Keep: p.Strategy == "CreateStopped", Tags: c.SystemTags, UserTags: c.UserTags}
	w.Row = &VMInstance{Type: cmp.Or(p.Type, "UserVm"), State: Starting, InstanceOfferingUUID: p.InstanceOffering, ImageUUID: p.Image}
	w.Row.UUID, w.Row.Name, w.Row.Description, w.Row.AccountUUID = w.UUID, p.Name, p.Description, w.AccountUUID
	if w.Row.Type != "UserVm" {
		return nil, errs.New(errs.Invalid, "type", "%s is not for this call: appliances are made by the services that need them", w.Row.Type).
			WithAdvice("use UserVm")
	}
	if p.Strategy == "JustCreate" {
		return nil, errs.New(errs.Invalid, "strategy", "JustCreate is not offered").WithAdvice("use CreateStopped")
	}
	err := s.Store.Read(ctx, func(now store.Querier) error {
		q := store.Cached(now) // what guests are made from rarely changes
		if err := s.planSize(ctx, q, p, w); err != nil {
			return err
		}
		zone, err := s.planNetworks(ctx, q, p, w)
		if err != nil {
			return err
		}
		img, err := s.planImage(ctx, q, p, w, zone)
		if err != nil {
			return err
		}
		if err := s.planVolumes(ctx, q, p, w, img); err != nil {
			return err
		}
		if err := s.planTags(ctx, q, c, p, w, img); err != nil {
			return err
		}
		return s.planPlaces(ctx, now, p, w, img, zone)
	})
	return w, err
}

func (s *Service) planSize(ctx context.Context, q store.Querier, p *newVM, w *work) error {
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
		w.CPU, w.Memory = o.CPUNum, o.MemorySize
		w.Row.AllocatorStrategy = o.AllocatorStrategy
	case p.CPUNum == nil || p.MemorySize == nil:
		return errs.New(errs.Invalid, "instanceOfferingUuid", "give an instance offering, or both cpuNum and memorySize")
	}
	// ZStack's Go client sends 0 for both when it names an offering.
	if p.CPUNum != nil && *p.CPUNum != 0 {
		w.CPU = int64(*p.CPUNum)
	}
	if p.MemorySize != nil && *p.MemorySize != 0 {
		w.Memory = *p.MemorySize
	}
	switch {
	case w.CPU < 1 || w.CPU > 1024:
		return errs.New(errs.Invalid, "cpuNum", "%d is not between 1 and 1024", w.CPU)
	case w.Memory < 1<<20:
		return errs.New(errs.Invalid, "memorySize", "%d bytes are less than a MiB", w.Memory)
	case p.ReservedMemorySize != nil && *p.ReservedMemorySize > 0:
		return checkReserved(*p.ReservedMemorySize)
	}
	w.Row.CPUNum, w.Row.MemorySize = w.CPU, w.Memory
	return nil
}

// planNetworks checks the networks, and the addresses and MACs wished for by
// system tags; it returns the networks' zone.
func (s *Service) planNetworks(ctx context.Context, q store.Querier, p *newVM, w *work) (string, error) {
	if len(p.L3s) == 0 && p.Zone == "" && p.Cluster == "" && p.Host == "" {
		return "", errs.New(errs.Invalid, "l3NetworkUuids", "give at least one L3 network, or a zone, cluster or host")
	}
	if p.NICParams != "" {
		return "", errs.New(errs.Invalid, "vmNicParams", "is not offered").WithAdvice("use the system tags staticIp:: and customMac::")
	}
	w.Row.DefaultL3NetworkUUID = p.DefaultL3
	switch {
	case len(p.L3s) == 1 && p.DefaultL3 == "":
		w.Row.DefaultL3NetworkUUID = p.L3s[0]
	case len(p.L3s) > 1 && p.DefaultL3 == "":
		return "", errs.New(errs.Invalid, "defaultL3NetworkUuid", "must be given with several L3 networks")
	}
	zone, err := s.networks.Check(ctx, q, p.L3s)
	if err != nil {
		return "", err
	}
	index := map[string]int{}
	for i, uuid := range p.L3s {
		index[uuid] = i
		w.NICWishes = append(w.NICWishes, contract.NICWish{L3UUID: uuid})
	}
	if d := w.Row.DefaultL3NetworkUUID; d != "" {
		if _, ok := index[d]; !ok {
			return "", errs.New(errs.Invalid, "defaultL3NetworkUuid", "%s is not among l3NetworkUuids", d)
		}
	}
	for _, t := range w.Tags {
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
				w.NICWishes[i].IP = m["staticIp"]
			} else {
				w.NICWishes[i].MAC = m["mac"]
			}
		}
	}
	return cmp.Or(zone, p.Zone), nil
}

func (s *Service) planImage(ctx context.Context, q store.Querier, p *newVM, w *work, zone string) (*contract.Image, error) {
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
	w.Platform, w.Architecture = cmp.Or(p.Platform, img.Platform), cmp.Or(p.Architecture, img.Architecture)
	w.Row.Platform, w.Row.Architecture, w.Row.GuestOSType = w.Platform, w.Architecture, cmp.Or(p.GuestOSType, img.GuestOSType)
	return img, nil
}

// planVolumes lists the volumes to make: root, data, and for an ISO its place
// in the storage's cache.
func (s *Service) planVolumes(ctx context.Context, q store.Querier, p *newVM, w *work, img *contract.Image) error {
	root := &contract.VolumePlan{UUID: resource.NewUUID(), Name: "ROOT-for-" + p.Name, Type: "Root", AccountUUID: w.AccountUUID, VMUUID: w.UUID, Size: img.Size}
	wished, err := s.rootSize(ctx, q, p, root)
	if err != nil {
		return err
	}
	if img.MediaType == "ISO" {
		if wished == 0 {
			return errs.New(errs.Invalid, "rootDiskOfferingUuid", "a guest that boots ISO %s needs a root disk offering or rootDiskSize", img.Name)
		}
		w.CdRom = &VMCdRom{VMInstanceUUID: w.UUID, ISOUUID: img.UUID}
		w.CdRom.UUID, w.CdRom.Name = resource.NewUUID(), "vm-"+w.UUID+"-cdRom"
		root.Size = wished
		w.Volumes = []*contract.VolumePlan{root, {UUID: w.CdRom.UUID, Name: img.Name, ISO: true, ImageUUID: img.UUID}}
	} else {
		root.ImageUUID = img.UUID
		root.Size = max(img.Size, wished)
		w.Volumes = []*contract.VolumePlan{root}
	}
	w.Row.RootVolumeUUID = root.UUID
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
		w.Volumes = append(w.Volumes, &contract.VolumePlan{UUID: resource.NewUUID(), Name: fmt.Sprintf("DATA-for-%s-%d", p.Name, i+1), Type: "Data",
			AccountUUID: w.AccountUUID, VMUUID: w.UUID, DiskOfferingUUID: offerings[i], Size: size, DeviceID: int64(i + 1)})
	}
	return nil
}

func (s *Service) rootSize(ctx context.Context, q store.Querier, p *newVM, root *contract.VolumePlan) (int64, error) {
	if p.RootOffering != "" {
		o, err := s.diskOffering(ctx, q, p.RootOffering)
		if err != nil {
			return 0, err
		}
		root.DiskOfferingUUID = o.UUID
		return o.DiskSize, checkSize("rootDiskOfferingUuid", o.DiskSize)
	}
	if p.RootSize == nil {
		return 0, nil
	}
	return *p.RootSize, checkSize("rootDiskSize", *p.RootSize)
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
// that still has room.
func (s *Service) planPlaces(ctx context.Context, q store.Querier, p *newVM, w *work, img *contract.Image, zone string) error {
	if p.Zone != "" && zone != "" && p.Zone != zone {
		return errs.New(errs.Invalid, "zoneUuid", "the L3 networks are in zone %s, not in %s", zone, p.Zone)
	}
	if w.Row.AllocatorStrategy == contract.PlaceDesignated && p.Zone == "" && p.Cluster == "" && p.Host == "" {
		return errs.New(errs.Invalid, "allocatorStrategy "+contract.PlaceDesignated, "the place is to be named, but is not").
			WithAdvice("give a hostUuid, clusterUuid or zoneUuid, or use another offering")
	}
	var err error
	if w.MaxGuests, err = s.maxGuests(ctx, q, w.Row, w.Tags); err != nil {
		return err
	}
	r := contract.HostRequest{Room: w.room(), ZoneUUID: cmp.Or(p.Zone, zone), ClusterUUID: p.Cluster, HostUUID: p.Host,
		Architecture: w.Architecture, Strategy: w.Row.AllocatorStrategy}
	if r.Reachable, err = s.reachable(ctx, store.Cached(q), p.L3s); err != nil {
		return err
	}
	hosts, err := s.hosts.Candidates(ctx, q, r)
	if err != nil {
		return err
	}
	var size int64
	for _, v := range w.Volumes {
		size += v.Size
	}
	w.Places, err = s.storage.Places(ctx, q, contract.PlaceRequest{Hosts: hosts, Size: size, Image: img, PrimaryUUID: p.RootPrimary})
	return err
}
