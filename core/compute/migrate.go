package compute

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// migrateParams are the parameters of APIMigrateVmMsg.
type migrateParams struct {
	UUID            string `api:"vmInstanceUuid,required,path,resource=VmInstance"`
	Host            string `api:"hostUuid,resource=Host"`
	FromDestination *bool  `api:"migrateFromDestination" caption:"Sent by the target|由目标物理机发起"`
	AllowUnknown    bool   `api:"allowUnknown,default=false" caption:"Also in state Unknown|允许未知状态"`
	Strategy        string `api:"strategy,values=auto-converge" caption:"Strategy|迁移策略"`
	DownTime        *int   `api:"downTime" caption:"Down time|停机时间"`
}

// targetsParams are the parameters of APIGetVmMigrationCandidateHostsMsg.
type targetsParams struct {
	UUID string `api:"vmInstanceUuid,required,path,resource=VmInstance"`
}

func (s *Service) registerMigrate() {
	a := s.vmAction("Migrate", "Moves a running guest to another host: the one that is named, else the best that can take it.")
	a.Message, a.Path, a.Queue, a.Timeout = "APIMigrateVmMsg", "/vm-instances/{vmInstanceUuid}/actions", "vmInstanceUuid", 2*hour
	action.Register(s.Actions, a, func(ctx context.Context, c *action.Call, p *migrateParams) (action.Ref, error) {
		return refOf(p.UUID), s.migrateVM(ctx, c, p)
	})
	action.Register(s.Actions, action.Action{Message: "APIGetVmMigrationCandidateHostsMsg", Method: "GET", Path: "/vm-instances/{vmInstanceUuid}/migration-target-hosts",
		Access: action.Normal, Doc: "Lists hosts that a running guest can move to, the best first.",
		View: action.View{Caption: resource.Say("Hosts to migrate to", "可迁移的目标物理机")}},
		func(ctx context.Context, _ *action.Call, p *targetsParams) (action.Refs, error) {
			vm, g, err := s.ready(ctx, p.UUID, "migrate")
			if err != nil {
				return nil, err
			}
			found, err := s.targets(ctx, vm, g, "", math.MaxInt)
			if errs.ClassOf(err) == errs.Exhausted {
				return action.Refs{}, nil // nobody can take it
			}
			hosts := action.Refs{}
			for _, t := range found {
				hosts = append(hosts, action.Ref{Type: "Host", UUID: t.To})
			}
			return hosts, err
		})
}

// refused tells which of the parameters is for something that there is not.
func (p *migrateParams) refused() error {
	switch {
	case p.FromDestination != nil && *p.FromDestination:
		return errs.New(errs.Invalid, "migrateFromDestination", "is not offered: the host that the guest is on sends it").WithAdvice("leave it away, or use false")
	case p.AllowUnknown:
		return errs.New(errs.Invalid, "allowUnknown", "is not offered: nobody knows where an Unknown guest runs").WithAdvice("leave it away, or use false")
	case p.DownTime != nil:
		return errs.New(errs.Invalid, "downTime", "is not offered: the hypervisor decides how long the guest stands still").WithAdvice("leave it away")
	}
	return nil
}

// migrateVM moves a guest to the best host that can take it.
func (s *Service) migrateVM(ctx context.Context, c *action.Call, p *migrateParams) error {
	if err := p.refused(); err != nil {
		return err
	}
	vm, g, err := s.ready(ctx, p.UUID, "migrate")
	if err != nil {
		return err
	}
	if p.Host == vm.HostUUID {
		return refuse(vm, "it runs on host %s already", p.Host).WithAdvice("name another host, or none")
	}
	found, err := s.targets(ctx, vm, g, p.Host, 1)
	if err != nil {
		return err
	}
	m := found[0]
	m.SlowGuest = p.Strategy != ""
	return flow.Run(ctx, s.Flows, s.migrate, m, flowOf(c, p.UUID))
}

// targets plans the move of a guest to the best hosts that can take it, most of them at
// most, or to the one that is wanted. Errors: Exhausted, with the reason for each host, when there
// is none; Unsupported when the guest's hypervisor moves no guests.
func (s *Service) targets(ctx context.Context, vm *VMInstance, g *guest, wanted string, most int) ([]*migration, error) {
	hv, err := s.Plugins.Hypervisor(vm.HypervisorType)
	if err == nil {
		_, err = hv.Migrator()
	}
	if err != nil {
		return nil, err
	}
	tags, err := s.Tags.Of(ctx, s.Store, vm.UUID)
	if err != nil {
		return nil, err
	}
	maxGuests, err := s.maxGuests(ctx, s.Store, vm, tags)
	if err != nil {
		return nil, err
	}
	reachable, err := s.reachable(ctx, s.Store, l3sOf(g))
	if err != nil {
		return nil, err
	}
	hosts, err := s.hosts.Candidates(ctx, s.Store, contract.HostRequest{Room: g.room(maxGuests), ZoneUUID: vm.ZoneUUID, HostUUID: wanted, Avoid: []string{vm.HostUUID},
		HypervisorType: vm.HypervisorType, Architecture: vm.Architecture, Strategy: vm.AllocatorStrategy, Reachable: reachable})
	if err != nil {
		return nil, err
	}
	plan, err := s.planMove(ctx, vm, g)
	if err != nil {
		return nil, err
	}
	var found []*migration
	var why []string
	for _, h := range hosts {
		if len(found) == most {
			break
		}
		m, err := plan.to(ctx, h)
		switch {
		case errs.ClassOf(err) == errs.Exhausted:
			why = append(why, "host "+h.UUID+": "+err.Error())
		case err != nil:
			return nil, err
		default:
			m.MaxGuests = maxGuests
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, errs.New(errs.Exhausted, "VM "+vm.Name, "no host can take its volumes: %s", strings.Join(why, "; ")).
			WithAdvice("attach the storage to the cluster, free space, or name another host")
	}
	return found, nil
}

// move is what is the same for each host that a guest could move to.
type move struct {
	s      *Service
	guest  *guest
	copy   pluginv1.DiskCopy
	images map[string]*contract.Image // of volumes that are copied, and of drives
}

// planMove finds out what of a guest is copied. Volumes that their host keeps are based
// on an image, which the other host must have as well; when there is no copy of it any
// more, all that they have is copied. An ISO in a drive must still be there.
func (s *Service) planMove(ctx context.Context, vm *VMInstance, g *guest) (*move, error) {
	p := &move{s: s, guest: g, images: map[string]*contract.Image{}}
	local := onHosts(g.Volumes)
	if len(local) == 0 {
		return p, nil // what drives have is in the same storage
	}
	p.copy = pluginv1.DiskCopy_DISK_COPY_CHANGES
	for _, v := range local {
		if v.ImageUUID == "" {
			continue
		}
		img, err := s.images.Usable(ctx, s.Store, v.ImageUUID, vm.ZoneUUID)
		if c := errs.ClassOf(err); c == errs.NotFound || c == errs.Refused {
			p.copy = pluginv1.DiskCopy_DISK_COPY_ALL
			continue
		}
		if err != nil {
			return nil, err
		}
		p.images[v.ImageUUID] = img
	}
	for _, d := range g.Drives {
		img, err := s.images.Usable(ctx, s.Store, d.Image, vm.ZoneUUID)
		if err != nil {
			return nil, errs.Wrap(errs.ClassOf(err), "VM "+vm.Name, err, "the ISO in its CD-ROM drive cannot be brought to another host").
				WithAdvice("detach the ISO, or make its image usable again")
		}
		p.images[d.Image] = img
	}
	return p, nil
}

// to plans the move to one host. Errors: Exhausted when its storages cannot take the
// volumes.
func (p *move) to(ctx context.Context, h contract.HostCandidate) (*migration, error) {
	m := &migration{guest: *p.guest, To: h.UUID, ToCluster: h.ClusterUUID, Copy: p.copy, MovedDrives: slices.Clone(p.guest.Drives)}
	sizes := map[string]int64{} // of what each storage is to take
	for _, v := range p.guest.Volumes {
		if v.HostUUID != "" {
			sizes[v.PrimaryUUID] += v.Size
		}
	}
	for _, v := range p.guest.Volumes {
		there := *v
		request := contract.PlaceRequest{Hosts: []contract.HostCandidate{h}, PrimaryUUID: v.PrimaryUUID, Size: sizes[v.PrimaryUUID]}
		if p.copy == pluginv1.DiskCopy_DISK_COPY_ALL {
			there.ImageUUID = ""
		}
		request.Image = p.images[there.ImageUUID]
		at, err := p.s.storage.Places(ctx, p.s.Store, request)
		if err != nil {
			return nil, err
		}
		if v.HostUUID != "" {
			there.HostUUID, there.ImageStoreUUID, there.InstallPath = h.UUID, at[0].ImageStoreUUID, ""
		}
		m.MovedVolumes = append(m.MovedVolumes, &there)
		if v.Type == "Root" && v.HostUUID != "" {
			if m.Media, err = p.media(ctx, request); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// media are the places of the drives' images, which are where the root volume is.
func (p *move) media(ctx context.Context, root contract.PlaceRequest) ([]contract.Place, error) {
	var places []contract.Place
	for _, d := range p.guest.Drives {
		root.Image = p.images[d.Image]
		at, err := p.s.storage.Places(ctx, p.s.Store, root)
		if err != nil {
			return nil, err
		}
		places = append(places, at[0])
	}
	return places, nil
}
