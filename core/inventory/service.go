package inventory

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service brings what there is outside. It is safe for concurrent use.
type Service struct {
	// Clock is what tells when the next sync at an interval is due; New sets that of the
	// machine.
	Clock Clock

	k    *kernel.Kernel
	rows contract.ForeignRows
	// inventories are those that plugins declare.
	inventories atomic.Pointer[[]*pluginv1.InventoryDecl]
	syncing     *flow.Def[run]
	applying    *flow.Def[run]
	asked       map[string]time.Time // of the loop: when it asked for an endpoint last
}

// New makes the service. rows has the rows of plugins' types.
func New(k *kernel.Kernel, rows contract.ForeignRows) *Service {
	s := &Service{k: k, rows: rows, Clock: machine{}, asked: map[string]time.Time{}}
	s.inventories.Store(&[]*pluginv1.InventoryDecl{})
	s.syncing, s.applying = s.define()
	return s
}

const (
	category = "inventory"
	share    = "removal.share"
	// syncMessage is what the loop asks for, applyMessage what is asked for in the turn
	// of an endpoint, forgetMessage what a run asks for of each row that is gone outside.
	syncMessage   = "SyncInventoryMsg"
	applyMessage  = "ApplyInventorySyncMsg"
	forgetMessage = "ForgetForeignMsg"
	// longest bounds a run.
	longest = 24 * time.Hour
)

func interval(endpointType string) string { return endpointType + ".interval" }

type syncParams struct {
	EndpointUUID string `api:"endpointUuid,required,anytype"`
	Removals     string `api:"removals,values=wait|apply,default=wait"`
}

type applyParams struct {
	UUID string `api:"uuid,path,required,resource=InventorySync,write"`
}

type applyInTurn struct {
	UUID         string `api:"uuid,required,max=32,resource=InventorySync"`
	EndpointUUID string `api:"endpointUuid,required,anytype"`
}

type forgetParams struct {
	ResourceUUID string `api:"resourceUuid,required,max=32"`
	ResourceType string `api:"resourceType,required"`
}

// Register registers the messages, the settings and the flows.
func (s *Service) Register() error {
	flow.Register(s.k.Flows, s.syncing)
	flow.Register(s.k.Flows, s.applying)
	s.k.Tags.Also(s.forget)
	action.Register(s.k.Actions, action.Action{Message: "APISyncInventoryMsg", Method: "POST", Path: syncType.Path, Async: true, Create: true, TagType: "-",
		Access: action.Normal, Queue: "endpointUuid", Kind: category, Returns: syncType.Name, Timeout: longest, View: action.View{Type: syncType.Name, Verb: "create", Caption: resource.Say("Sync", "同步")},
		Doc: "Brings what there is at an endpoint. With removals=apply, what is gone there goes here at once; otherwise it waits until the sync is applied."},
		func(ctx context.Context, c *action.Call, p *syncParams) (action.Ref, error) {
			return s.sync(ctx, c, c.ResourceUUID, p, false)
		})
	action.Register(s.k.Actions, action.Action{Message: syncMessage, Async: true, Access: action.Internal, Queue: "endpointUuid", Kind: category, Timeout: longest,
		Doc: "Brings what there is at an endpoint whose interval has passed."},
		func(ctx context.Context, c *action.Call, p *syncParams) (action.Ref, error) {
			return s.sync(ctx, c, resource.NewUUID(), p, true)
		})
	action.Register(s.k.Actions, action.Action{Message: "APIApplyInventorySyncMsg", Method: "PUT", Path: syncType.Path + "/{uuid}/actions", Async: true,
		Access: action.Normal, Queue: "uuid", Kind: category + "-apply", Returns: syncType.Name, Timeout: longest, View: action.View{Caption: resource.Say("Apply removals", "执行移除")},
		Doc: "Takes away what a sync has found to be gone outside. What others depend on stays."}, s.apply)
	action.Register(s.k.Actions, action.Action{Message: applyMessage, Async: true, Access: action.Internal, Queue: "endpointUuid", Kind: category, Timeout: longest,
		Doc: "Takes away what a sync has found to be gone, in the turn of its endpoint."}, s.applyNow)
	action.Register(s.k.Actions, action.Action{Message: forgetMessage, Async: true, Access: action.Internal, Queue: "resourceUuid",
		Doc: "Forgets a row that stands for something which is gone."}, s.forgetRow)
	s.k.Brought(kernel.Bringer{Register: s.registerBrought})
	return s.k.Config.Define(config.Setting{Category: category, Name: share, Type: "int", Default: "10", Max: 100, Unit: "percent",
		Caption: resource.Say("Removals by themselves", "自动移除比例"),
		Doc:     "How many percent of the things at an endpoint may be gone for a sync at an interval to take their rows away by itself; 0: it never does."})
}

// registerBrought registers what plugins bring: endpoints, each type with its interval.
func (s *Service) registerBrought() error {
	var all []*pluginv1.InventoryDecl
	for _, m := range s.k.Declared() {
		all = append(all, m.GetInventories()...)
	}
	for _, d := range all {
		err := s.k.Config.Define(config.Setting{Category: category, Name: interval(d.GetEndpointType()), Type: "int", Default: "0", Max: 366 * 24 * 3600, Unit: "seconds",
			Resources: []string{d.GetEndpointType()}, Doc: "Seconds between two syncs of an endpoint of type " + d.GetEndpointType() + "; 0: none is made by itself."})
		if err != nil {
			return err
		}
	}
	s.inventories.Store(&all)
	return nil
}

// sync makes a run through an endpoint, whose key the caller holds.
func (s *Service) sync(ctx context.Context, c *action.Call, uuid string, p *syncParams, byInterval bool) (action.Ref, error) {
	ref := action.Ref{Type: syncType.Name, UUID: uuid}
	t, err := access.Find(ctx, s.k.Store, s.k.Types, p.EndpointUUID)
	if err != nil {
		return ref, err
	}
	brings := func(d *pluginv1.InventoryDecl) bool { return t != nil && d.GetEndpointType() == t.Name }
	if !slices.ContainsFunc(*s.inventories.Load(), brings) {
		return ref, errs.New(errs.Invalid, "resource "+p.EndpointUUID, "it is no endpoint from which an enabled plugin brings anything").
			WithAdvice("endpoints are of %s", s.endpointTypes())
	}
	if err := s.k.Actions.Authorize(ctx, c.Caller, action.Target{Type: t.Name, UUID: p.EndpointUUID}, true); err != nil {
		return ref, err
	}
	r := &run{UUID: uuid, Endpoint: p.EndpointUUID, Type: t.Name, ByInterval: byInterval, Removals: p.Removals}
	return ref, flow.Run(ctx, s.k.Flows, s.syncing, r, flow.Options{Job: c.Job, Key: r.Endpoint, ResourceType: syncType.Name, ResourceUUID: uuid})
}

func (s *Service) endpointTypes() string {
	var names []string
	for _, d := range *s.inventories.Load() {
		names = append(names, d.GetEndpointType())
	}
	if len(names) == 0 {
		return "no type: no enabled plugin has any"
	}
	return "the types " + strings.Join(names, ", ")
}

// apply takes away what a run has found to be gone, in the turn of its endpoint: no sync
// goes on meanwhile.
func (s *Service) apply(ctx context.Context, _ *action.Call, p *applyParams) (action.Ref, error) {
	ref := action.Ref{Type: syncType.Name, UUID: p.UUID}
	row, err := store.Get(ctx, s.k.Store, syncType, p.UUID)
	if err == nil {
		_, err = s.k.Actions.DoSystem(ctx, applyMessage, map[string]any{"uuid": p.UUID, "endpointUuid": row.EndpointUUID})
	}
	return ref, err
}

func (s *Service) applyNow(ctx context.Context, c *action.Call, p *applyInTurn) (action.Empty, error) {
	row, err := store.Get(ctx, s.k.Store, syncType, p.UUID)
	if err != nil || row.State == Done {
		return action.Empty{}, err
	}
	if row.State != Waiting {
		return action.Empty{}, errs.New(errs.Refused, syncType.Name+" "+p.UUID, "it is %s: there is nothing to apply", row.State).
			WithAdvice("sync the endpoint again, and apply that")
	}
	r := &run{UUID: row.UUID, Endpoint: row.EndpointUUID, Type: row.EndpointType, Apply: true}
	return action.Empty{}, flow.Run(ctx, s.k.Flows, s.applying, r, flow.Options{Job: c.Job, Key: r.Endpoint, ResourceType: syncType.Name, ResourceUUID: row.UUID})
}

// forgetRow deletes a row by its cascade.
func (s *Service) forgetRow(ctx context.Context, _ *action.Call, p *forgetParams) (action.Empty, error) {
	return action.Empty{}, s.k.Cascade.Delete(ctx, p.ResourceType, p.ResourceUUID, cascade.Permissive, flow.Options{Key: p.ResourceUUID})
}

// forget is called with the transaction that deletes a row: the runs of an endpoint go
// with it.
func (s *Service) forget(ctx context.Context, tx *store.Tx, uuid string) error {
	runs, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `InventorySync` WHERE `endpointUuid` = ?", uuid)
	if err != nil || len(runs) == 0 {
		return err
	}
	return drop(ctx, tx, runs)
}

// drop deletes runs and their items.
func drop(ctx context.Context, tx *store.Tx, runs []string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `InventorySyncItem` WHERE `syncUuid` IN (?)", runs); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM `InventorySync` WHERE `uuid` IN (?)", runs)
	return err
}
