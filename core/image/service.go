package image

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service keeps backup storages and images.
type Service struct {
	needs
	adding  *flow.Def[addImage]
	adds    adds
	looking sync.WaitGroup // for what stores have free
}

// needs are the parts of the kernel that this service uses.
type needs struct {
	Store   *store.Store
	Actions *action.Registry
	Flows   *flow.Engine
	Cascade *cascade.Engine
	Hooks   *hook.Service
	Tags    *tag.Service
	Config  *config.Service
	Plugins *plugin.Manager
	Node    *mgmt.Node
	Log     hclog.Logger
	generic kernel.Generic
}

func needsOf(k *kernel.Kernel) needs {
	return needs{Store: k.Store, Actions: k.Actions, Flows: k.Flows, Cascade: k.Cascade, Hooks: k.Hooks, Tags: k.Tags, Config: k.Config,
		Plugins: k.Plugins, Node: k.Node, Log: k.Log, generic: k}
}

// New makes the service.
func New(k *kernel.Kernel) *Service {
	s := &Service{needs: needsOf(k)}
	s.adding = s.addFlow()
	return s
}

// Register registers actions, flows, settings and delete rules. The backup
// storage plugins must have been started.
func (s *Service) Register() error {
	flow.Register(s.Flows, s.adding)
	s.declarePoints()
	s.generic.Brought(kernel.Bringer{Register: func() error { return errors.Join(s.registerTags(), s.registerTypes()) }})
	s.Cascade.Register(ImageRefType.Name, cascade.Deleter{Delete: s.deleteRef})
	for _, f := range []func() error{s.registerSettings, s.registerStores, s.registerZones, s.registerHealth, s.registerImages} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) registerSettings() error {
	return s.Config.Define(config.Setting{Category: "backupStorage", Name: "reservedCapacity", Type: "size", Default: "1G",
		Resources: []string{"BackupStorage"}, Doc: "Capacity of a store that images do not get."})
}

// storeParams are the parameters that every add-backup-storage message has.
var storeParams = []action.Param{
	{Name: "name", Type: "string", Required: true, MaxLength: 255},
	{Name: "description", Type: "string", MaxLength: 2048},
	{Name: "url", Type: "string", Required: true, MaxLength: 2048},
	{Name: "type", Type: "string"},
	{Name: "importImages", Type: "bool", Default: "false"},
}

func (s *Service) registerTypes() error {
	return plugin.Each(s.generic.Declared(), (*pluginv1.Manifest).GetBackupStorages, func(d *pluginv1.BackupStorageDecl) error {
		err := s.generic.RegisterAddition(kernel.Addition{
			Base: BackupStorageType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(), Params: storeParams, Kind: "storage",
			Doc: "Adds a backup storage of type " + d.GetType() + ".",
			Make: func(ctx context.Context, c *action.Call, p kernel.Params, own map[string]any) (action.Ref, error) {
				return s.add(ctx, c, d, p, own)
			},
		})
		if err != nil {
			return err
		}
		return s.registerStoreUpdate(d)
	})
}

// add connects the store by its plugin and inserts the row; nothing is left
// when the plugin refuses.
func (s *Service) add(ctx context.Context, c *action.Call, d *pluginv1.BackupStorageDecl, p kernel.Params, own map[string]any) (action.Ref, error) {
	ref := action.Ref{Type: "BackupStorage", UUID: c.ResourceUUID}
	if p.True("importImages") {
		return ref, errs.New(errs.Invalid, "importImages", "is not offered").WithAdvice("add the images one by one")
	}
	row := &BackupStorage{URL: p.Text("url"), Type: d.GetType(), State: Enabled, Status: Connected}
	row.UUID, row.Name, row.Description = c.ResourceUUID, p.Text("name"), p.Text("description")
	plug, err := s.Plugins.BackupStorage(d.GetType())
	if err != nil {
		return ref, err
	}
	r, err := plug.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: pluginStore(row, kernel.PluginFields(own))})
	if err != nil {
		return ref, err
	}
	row.TotalCapacity, row.AvailableCapacity = bytesOf(r.GetCapacity())
	return ref, s.Store.Update(ctx, func(tx *store.Tx) error {
		_, found, err := store.First(ctx, tx, BackupStorageType, "`url` = ? AND `type` = ?", row.URL, row.Type)
		if err != nil {
			return err
		}
		if found {
			return errs.New(errs.Exists, "backup storage "+row.URL, "there is one of type %s with this url already", row.Type)
		}
		if err := store.Insert(ctx, tx, BackupStorageType, row); err != nil {
			return err
		}
		if err := s.generic.InsertSubtype(ctx, tx, BackupStorageType.Type, d.GetType(), row.UUID, own); err != nil {
			return err
		}
		return s.Tags.CreateFor(ctx, tx, "BackupStorage", row.UUID, c)
	})
}

func pluginStore(b *BackupStorage, fields map[string]string) *pluginv1.Storage {
	return &pluginv1.Storage{Uuid: b.UUID, Name: b.Name, Type: b.Type, Url: b.URL, Fields: fields}
}

// plugin returns a store as its plugin sees it, and the plugin.
func (s *Service) plugin(ctx context.Context, uuid string) (*pluginv1.Storage, *plugin.BackupStorage, error) {
	row, err := store.Get(ctx, s.Store, BackupStorageType, uuid)
	if err != nil {
		return nil, nil, err
	}
	fields, err := s.generic.PluginFieldsOf(ctx, s.Store, BackupStorageType.Type, row.Type, uuid)
	if err != nil {
		return nil, nil, err
	}
	plug, err := s.Plugins.BackupStorage(row.Type)
	return pluginStore(row, fields), plug, err
}

func (s *Service) registerStores() error {
	type types struct {
		Types []string `json:"backupStorageTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetBackupStorageTypesMsg", Method: "GET", Path: "/backup-storage/types", Access: action.Admin,
		Doc: "Lists the backup storage types that the plugins offer.",
	}, func(context.Context, *action.Call, *struct{}) (types, error) {
		return types{plugin.Types(s.Plugins, (*pluginv1.Manifest).GetBackupStorages)}, nil
	})
	for _, err := range []error{
		s.generic.RegisterUpdate(BackupStorageType.Type, action.Admin, nil),
		s.generic.RegisterState(BackupStorageType.Type, action.Admin, nil),
		s.generic.RegisterDelete(BackupStorageType.Type, action.Admin),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// zoneParams name a zone and a store.
type zoneParams struct {
	ZoneUUID  string `api:"zoneUuid,required,path,resource=Zone"`
	StoreUUID string `api:"backupStorageUuid,required,path,resource=BackupStorage"`
}

func (s *Service) registerZones() error {
	const path = "/zones/{zoneUuid}/backup-storage/{backupStorageUuid}"
	action.Register(s.Actions, action.Action{
		Message: "APIAttachBackupStorageToZoneMsg", Method: "POST", Path: path, Key: "params", Async: true, Access: action.Admin,
		Queue: "backupStorageUuid", Returns: "BackupStorage", Doc: "Makes the images of a store usable in a zone.",
	}, func(ctx context.Context, _ *action.Call, p *zoneParams) (action.Ref, error) {
		ref := action.Ref{Type: "BackupStorage", UUID: p.StoreUUID}
		return ref, s.Store.Update(ctx, func(tx *store.Tx) error {
			if err := cascade.Guard(ctx, tx, "Zone", p.ZoneUUID); err != nil {
				return err
			}
			_, found, err := store.First(ctx, tx, ZoneRefType, "`zoneUuid` = ? AND `backupStorageUuid` = ?", p.ZoneUUID, p.StoreUUID)
			if err != nil {
				return err
			}
			if found {
				return errs.New(errs.Refused, "backup storage "+p.StoreUUID, "is attached to zone %s already", p.ZoneUUID)
			}
			row := &BackupStorageZoneRef{ZoneUUID: p.ZoneUUID, BackupStorageUUID: p.StoreUUID}
			row.UUID = resource.NewUUID()
			return store.Insert(ctx, tx, ZoneRefType, row)
		})
	})
	action.Register(s.Actions, action.Action{
		Message: "APIDetachBackupStorageFromZoneMsg", Method: "DELETE", Path: path, Async: true, Access: action.Admin,
		Queue: "backupStorageUuid", Returns: "BackupStorage", Removes: action.Removes(s.goneFromZone), Doc: "Takes a store from a zone; guests that exist are not touched.",
	}, func(ctx context.Context, _ *action.Call, p *zoneParams) (action.Ref, error) {
		return action.Ref{Type: "BackupStorage", UUID: p.StoreUUID}, s.Store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM `BackupStorageZoneRef` WHERE `zoneUuid` = ? AND `backupStorageUuid` = ?", p.ZoneUUID, p.StoreUUID)
			return err
		})
	})
	return nil
}

// goneFromZone is the plan of taking a store from a zone.
func (s *Service) goneFromZone(ctx context.Context, _ *action.Call, p *zoneParams) (action.Removal, error) {
	r := action.Removal{Subject: action.Row{Type: BackupStorageType.Name, UUID: p.StoreUUID}}
	row, found, err := store.First(ctx, s.Store, ZoneRefType, "`zoneUuid` = ? AND `backupStorageUuid` = ?", p.ZoneUUID, p.StoreUUID)
	if found {
		r.Rows = []action.Row{{Type: ZoneRefType.Name, UUID: row.UUID}}
	}
	return r, err
}

// Usable returns an image that a guest in the zone can be made from
// (contract.Images). Errors: NotFound; Refused with the reason.
func (s *Service) Usable(ctx context.Context, q store.Querier, imageUUID, zoneUUID string) (*contract.Image, error) {
	img, err := store.Get(ctx, q, ImageType, imageUUID)
	if err != nil {
		return nil, err
	}
	switch {
	case img.State != Enabled:
		return nil, errs.New(errs.Refused, "image "+img.Name, "is %s", img.State).WithAdvice("enable it first")
	case img.Status != Ready:
		return nil, errs.New(errs.Refused, "image "+img.Name, "is not Ready but %s", img.Status)
	}
	r := &contract.Image{UUID: img.UUID, Name: img.Name, MediaType: img.MediaType, Format: img.Format, Platform: img.Platform,
		Architecture: img.Architecture, GuestOSType: img.GuestOSType, Size: img.Size, ActualSize: img.ActualSize, UsualDrivers: img.UsualDrivers}
	query, args := "SELECT s.`uuid`, s.`type` FROM `ImageBackupStorageRef` i JOIN `BackupStorage` s ON s.`uuid` = i.`backupStorageUuid`", []any{}
	if zoneUUID != "" { // a store is attached to a zone once
		query, args = query+" JOIN `BackupStorageZoneRef` z ON z.`backupStorageUuid` = s.`uuid` AND z.`zoneUuid` = ?", []any{zoneUUID}
	}
	query += " WHERE i.`imageUuid` = ? AND i.`status` = ? AND s.`state` = ? AND s.`status` = ?"
	err = q.Each(ctx, query, append(args, imageUUID, Ready, Enabled, Connected), func(row *store.Row) error {
		r.Stores = append(r.Stores, contract.ImageStore{UUID: row.Text(0), Type: row.Text(1)})
		return nil
	})
	if err == nil && len(r.Stores) == 0 {
		err = errs.New(errs.Refused, "image "+img.Name, "is in no enabled, connected backup storage of the zone").
			WithAdvice("attach its backup storage to the zone")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Existing implements contract.Images.
func (s *Service) Existing(ctx context.Context, q store.Querier, imageUUIDs []string) ([]string, error) {
	const page = 1000
	var all []string
	for some := range slices.Chunk(imageUUIDs, page) {
		found, err := store.Texts(ctx, q, "SELECT `uuid` FROM `Image` WHERE `uuid` IN (?)", some)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Source gives a host a short-lived source of an image's bytes (contract.Images).
func (s *Service) Source(ctx context.Context, imageUUID, storeUUID, readerIP string) (*pluginv1.ImageSource, error) {
	st, plug, err := s.plugin(ctx, storeUUID)
	if err != nil {
		return nil, err
	}
	ref, found, err := store.First(ctx, s.Store, ImageRefType, "`imageUuid` = ? AND `backupStorageUuid` = ?", imageUUID, storeUUID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errs.New(errs.NotFound, "image "+imageUUID, "is not in backup storage %s", st.GetName())
	}
	r, err := plug.ExportImage(ctx, &pluginv1.ExportImageRequest{Store: st, ImageUuid: imageUUID, InstallPath: ref.InstallPath, ReaderIp: readerIP})
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "image "+imageUUID, err, "cannot be read from backup storage %s", st.GetName())
	}
	return r.GetSource(), nil
}
