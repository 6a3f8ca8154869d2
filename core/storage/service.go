package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service keeps primary storages and volumes.
type Service struct {
	needs
	hosts     contract.Hosts
	images    contract.Images
	attaching *flow.Def[attach]

	users  []contract.ImageUser
	guests contract.Guests

	// caching holds one entry for each image that is being put in a cache, so
	// that a thousand guests of one image ask the plugin once.
	mu      sync.Mutex
	caching map[cachePlace]*fetch

	// reads are the looks at capacities that are under way, read (under mu) when
	// each was looked at last.
	reads   singleflight.Group
	read    map[link]time.Time
	looking sync.WaitGroup

	// buses are those that system tags of volumes ask for, by tag.
	buses atomic.Pointer[map[string]string]
}

// needs are the parts of the kernel that this service uses.
type needs struct {
	Store   *store.Store
	Actions *action.Registry
	Flows   *flow.Engine
	Cascade *cascade.Engine
	Tags    *tag.Service
	Config  *config.Service
	Hooks   *hook.Service
	Plugins *plugin.Manager
	Node    *mgmt.Node
	Log     hclog.Logger
	generic kernel.Generic
}

func needsOf(k *kernel.Kernel) needs {
	return needs{Store: k.Store, Actions: k.Actions, Flows: k.Flows, Cascade: k.Cascade, Tags: k.Tags, Config: k.Config,
		Hooks: k.Hooks, Plugins: k.Plugins, Node: k.Node, Log: k.Log, generic: k}
}

// New makes the service. hosts and images are the services it asks for a
// host's properties and an image's bytes.
func New(k *kernel.Kernel, hosts contract.Hosts, images contract.Images) *Service {
	s := &Service{needs: needsOf(k), hosts: hosts, images: images, caching: map[cachePlace]*fetch{}, read: map[link]time.Time{}}
	s.attaching = s.attachFlow()
	hook.On(s.Hooks, contract.HostConnected, s.HostConnected)
	hook.On(s.Hooks, contract.HostLost, func(ctx context.Context, uuid string) error { s.HostLost(ctx, uuid); return nil })
	hook.On(s.Hooks, contract.HostChanged, func(ctx context.Context, uuid string) error { s.HostChanged(ctx, uuid); return nil })
	hook.On(s.Hooks, contract.HostLeaving, s.HostLeaving)
	return s
}

// Register registers actions, flows, settings and delete rules. The storage
// plugins must have been started.
func (s *Service) Register() error {
	flow.Register(s.Flows, s.attaching)
	s.Cascade.Register(ClusterRefType.Name, cascade.Deleter{Delete: s.deleteClusterRef,
		Users: []string{"VmInstance", VolumeType.Name, ImageCacheType.Name}})
	s.Cascade.Register(HostRefType.Name, cascade.Deleter{Delete: s.leaveHostRef, Collect: s.collectHostRef, Users: []string{VolumeType.Name, ClusterRefType.Name, ImageCacheType.Name}})
	s.Cascade.Register(ImageCacheType.Name, cascade.Deleter{Delete: s.deleteCached, Users: []string{"VmInstance", VolumeType.Name}})
	s.Cascade.Register(VolumeType.Name, cascade.Deleter{Delete: s.deleteVolume, Lives: true, Key: s.diskOf, Users: []string{"VmInstance"}})
	s.generic.Brought(kernel.Bringer{Register: func() error { return errors.Join(s.registerBuses(), s.registerTypes()) }})
	for _, f := range []func() error{s.registerSettings, s.registerPrimary, s.registerAttach, s.registerHealth, s.registerVolumes, s.registerClean} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) registerSettings() error {
	for _, d := range []config.Setting{
		{Category: "primaryStorage", Name: "reservedCapacity", Type: "size", Default: "1G",
			Resources: []string{"PrimaryStorage"}, Doc: "Capacity of a storage that volumes do not get."},
		{Category: "primaryStorage", Name: "imageCache.garbageCollector.interval", Type: "int", Default: "86400", Min: 1, Max: 1 << 40,
			Doc: "Seconds between two looks for cached images that were expunged and that no volume is based on."},
	} {
		if err := s.Config.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// primaryParams are the parameters that every add-primary-storage message has.
var primaryParams = []action.Param{
	{Name: "name", Type: "string", Required: true, MaxLength: 255},
	{Name: "description", Type: "string", MaxLength: 2048},
	{Name: "url", Type: "string", Required: true, MaxLength: 2048},
	{Name: "type", Type: "string"},
	{Name: "zoneUuid", Type: "string", Required: true, Resource: "Zone"},
}

func (s *Service) registerTypes() error {
	return plugin.Each(s.generic.Declared(), (*pluginv1.Manifest).GetPrimaryStorages, func(d *pluginv1.PrimaryStorageDecl) error {
		return s.generic.RegisterAddition(kernel.Addition{
			Base: PrimaryStorageType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(), Params: primaryParams, Kind: "storage",
			Doc: "Adds a primary storage of type " + d.GetType() + ".",
			Make: func(ctx context.Context, c *action.Call, p kernel.Params, own map[string]any) (action.Ref, error) {
				return s.add(ctx, c, d, p, own)
			},
		})
	})
}

// add checks the configuration with the plugin, which touches no host, and
// inserts the row; nothing is left when the plugin refuses.
func (s *Service) add(ctx context.Context, c *action.Call, d *pluginv1.PrimaryStorageDecl, p kernel.Params, own map[string]any) (action.Ref, error) {
	ref := action.Ref{Type: "PrimaryStorage", UUID: c.ResourceUUID}
	row := &PrimaryStorage{ZoneUUID: p.Text("zoneUuid"), URL: p.Text("url"), MountPath: p.Text("url"), Type: d.GetType(),
		State: Enabled, Status: Connected}
	row.UUID, row.Name, row.Description = c.ResourceUUID, p.Text("name"), p.Text("description")
	ps, err := s.Plugins.PrimaryStorage(d.GetType())
	if err != nil {
		return ref, err
	}
	r, err := ps.ConnectStorage(ctx, &pluginv1.ConnectStorageRequest{Storage: pluginStorage(row, kernel.PluginFields(own))})
	if err != nil {
		return ref, err
	}
	if !d.GetHostLocal() {
		row.setCapacity(bytesOf(r.GetCapacity()))
	}
	return ref, s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := cascade.Guard(ctx, tx, "Zone", row.ZoneUUID); err != nil {
			return err
		}
		_, found, err := store.First(ctx, tx, PrimaryStorageType, "`zoneUuid` = ? AND `url` = ? AND `type` = ?", row.ZoneUUID, row.URL, row.Type)
		if err != nil {
			return err
		}
		if found {
			return errs.New(errs.Exists, "primary storage "+row.URL, "there is one of type %s with this url in the zone already", row.Type)
		}
		if err := store.Insert(ctx, tx, PrimaryStorageType, row); err != nil {
			return err
		}
		if err := s.generic.InsertSubtype(ctx, tx, PrimaryStorageType.Type, d.GetType(), row.UUID, own); err != nil {
			return err
		}
		return s.Tags.CreateFor(ctx, tx, "PrimaryStorage", row.UUID, c)
	})
}

func (p *PrimaryStorage) setCapacity(total, free int64) {
	p.TotalCapacity, p.TotalPhysical = total, total
	p.AvailableCapacity, p.AvailablePhysical = free, free
	p.SystemUsed = total - free
}

func (s *Service) registerPrimary() error {
	type types struct {
		Types []string `json:"primaryStorageTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetPrimaryStorageTypesMsg", Method: "GET", Path: "/primary-storage/types", Access: action.Admin,
		Doc: "Lists the primary storage types that the plugins offer.",
	}, func(context.Context, *action.Call, *struct{}) (types, error) {
		return types{plugin.Types(s.Plugins, (*pluginv1.Manifest).GetPrimaryStorages)}, nil
	})
	s.registerState()
	for _, err := range []error{
		s.generic.RegisterUpdate(PrimaryStorageType.Type, action.Admin, nil),
		s.generic.RegisterDelete(PrimaryStorageType.Type, action.Admin, s.notAttached),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
