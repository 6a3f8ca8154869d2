package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file makes L2 networks of the types that plugins declare (L2NetworkDecl). What
// a type is, its plugin says as data: nothing here asks which one it is.

// l2Params are the parameters that every message has which makes an L2 network.
// Guests are plugged into the first of the switches when none is asked for.
func l2Params(switches []resource.Value) []action.Param {
	usual := ""
	if len(switches) > 0 {
		usual = switches[0].Name
	}
	return []action.Param{
		{Name: "name", Type: "string", Required: true, MaxLength: 255},
		{Name: "description", Type: "string", MaxLength: 2048},
		{Name: "zoneUuid", Type: "string", Required: true, Resource: "Zone"},
		{Name: "physicalInterface", Type: "string", Required: true, MaxLength: 1024, Holds: "device"},
		{Name: "type", Type: "string"},
		{Name: "vSwitchType", Type: "string", MaxLength: 1024, Default: usual},
		{Name: "isolated", Type: "bool?", Default: "false"},
		{Name: "pvlan", Type: "string", NoEmptyString: true},
	}
}

// registerL2Types registers the messages that make networks.
func (s *Service) registerL2Types() error {
	for _, d := range plugin.L2Types(s.generic.Declared()) {
		switches := s.switches(d.GetType())
		err := s.generic.RegisterAddition(kernel.Addition{
			Base: L2NetworkType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(), Params: l2Params(switches),
			Values: map[string][]resource.Value{"vSwitchType": switches},
			Doc:    "Makes a layer 2 network of type " + d.GetType() + ".",
			Make: func(ctx context.Context, c *action.Call, p kernel.Params, own map[string]any) (action.Ref, error) {
				return action.Ref{Type: L2NetworkType.Name, UUID: c.ResourceUUID}, s.newL2Network(ctx, c, d, p, own)
			},
		})
		if err != nil {
			return errs.Wrap(errs.Invalid, "L2 network type "+d.GetType(), err, "declaration")
		}
	}
	return nil
}

// switches are what the plugins plug guests of a type's networks into.
func (s *Service) switches(l2Type string) (all []resource.Value) {
	for _, sw := range plugin.Switches(s.generic.Declared(), l2Type) {
		all = append(all, resource.Value{Name: sw.GetName(), Caption: kernel.Said(sw.GetCaption())})
	}
	return all
}

// allSwitches are those of all types, none twice.
func (s *Service) allSwitches() (all []resource.Value) {
	for _, d := range plugin.L2Types(s.generic.Declared()) {
		for _, v := range s.switches(d.GetType()) {
			if !slices.ContainsFunc(all, func(k resource.Value) bool { return k.Name == v.Name }) {
				all = append(all, v)
			}
		}
	}
	return all
}

// newL2Network checks the parameters and writes the row. It touches no host.
func (s *Service) newL2Network(ctx context.Context, c *action.Call, d *pluginv1.L2NetworkDecl, p kernel.Params, own map[string]any) error {
	if err := s.Plugins.L2Ready(d.GetType()); err != nil {
		return err
	}
	if given := p.Text("vSwitchType"); given != "" && len(s.switches(d.GetType())) == 0 {
		return invalid("vSwitchType", "%s is not offered by any plugin", given).WithAdvice("leave it out")
	}
	for _, r := range d.GetRefuses() {
		if p.True(r.GetParameter()) || p.Text(r.GetParameter()) != "" {
			return unsupported(r.GetParameter(), "%s", r.GetReason())
		}
	}
	row := &L2Network{ZoneUUID: p.Text("zoneUuid"), PhysicalInterface: p.Text("physicalInterface"), Type: d.GetType(),
		VSwitchType: p.Text("vSwitchType"), Isolated: p.True("isolated"), PVLAN: p.Text("pvlan")}
	row.VirtualNetworkID, _ = own[d.GetNumber()].(int64)
	row.Identify(c.ResourceUUID, p.Text("name"), p.Text("description"))
	row.SetAccount(c.Caller.AccountUUID)
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := kernel.Add(ctx, tx, s.generic, c, L2NetworkType, row, func() error { return nil }); err != nil {
			return err
		}
		return s.generic.InsertSubtype(ctx, tx, L2NetworkType.Type, d.GetType(), row.UUID, own)
	})
}

// checkL2Alone refuses to attach a network to a cluster that has one of its type
// which is the same in all that must differ (L2NetworkDecl.unique).
func (s *Service) checkL2Alone(ctx context.Context, l2 *L2Network, cluster *contract.Cluster) error {
	types := plugin.L2Types(s.generic.Declared())
	i := slices.IndexFunc(types, func(d *pluginv1.L2NetworkDecl) bool { return d.GetType() == l2.Type })
	if i < 0 || len(types[i].GetUnique()) == 0 {
		return nil
	}
	where := "`type` = ? AND `uuid` IN (SELECT `l2NetworkUuid` FROM `L2NetworkClusterRef` WHERE `clusterUuid` = ?)"
	args, same := []any{l2.Type, cluster.UUID}, []string{}
	for _, name := range types[i].GetUnique() {
		t, value, err := s.l2Value(ctx, l2, name)
		if err != nil {
			return err
		}
		where += " AND `uuid` IN (SELECT `uuid` FROM `" + t.Name + "` WHERE `" + name + "` = ?)"
		args, same = append(args, value), append(same, fmt.Sprintf("%s %v", name, value))
	}
	other, found, err := store.First(ctx, s.Store, L2NetworkType, where, args...)
	if err != nil || !found {
		return err
	}
	return refused("L2Network "+l2.Name, "%s carries network %s in cluster %s already", strings.Join(same, ", "), other.Name, cluster.Name)
}

// l2Value reads a field of a network, of every L2 network or of its type, and in which
// table it is. Errors: Internal for a field that neither has.
func (s *Service) l2Value(ctx context.Context, l2 *L2Network, name string) (*resource.Type, any, error) {
	for _, t := range []*resource.Type{L2NetworkType.Type, s.generic.SubtypeOf(L2NetworkType.Type, l2.Type)} {
		if t == nil {
			continue
		}
		if _, has := t.Field(name); has {
			row, err := store.GetValues(ctx, s.Store, t, l2.UUID)
			return t, row[name], err
		}
	}
	return nil, nil, errs.New(errs.Internal, "L2 network type "+l2.Type, "has no field %s, which is to be unique", name)
}
