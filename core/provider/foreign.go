package provider

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// checkForeignID refuses what a plugin answered for the ID of what it has made.
func (t *served) checkForeignID(id string) error {
	bad := func(why string) error {
		return errs.New(errs.Internal, "plugin "+t.plugin, "it has made a %s and answers foreign ID %q, which %s", t.GetName(), id, why).
			WithAdvice("this is a defect of the plugin")
	}
	switch {
	case t.GetForeign().GetCreate() && id == "":
		return bad("is none")
	case !t.GetForeign().GetCreate() && id != "":
		return bad("its type does not have (foreign.create)")
	case utf8.RuneCountInString(id) > pluginsdk.MaxForeignID:
		return bad("is too long")
	}
	return nil
}

// originOf is the origin of a row of a foreign type, without its foreign ID.
func (s *Service) originOf(ctx context.Context, q store.Querier, t *served, row values) (origin.Origin, error) {
	o := origin.Origin{ResourceType: t.GetName(), Plugin: t.plugin, EndpointType: t.GetForeign().GetEndpointType()}
	o.ResourceUUID, _ = row["uuid"].(string)
	o.EndpointUUID, _ = row[t.GetForeign().GetEndpoint()].(string)
	account, err := s.owner(ctx, q, t, row)
	o.SetAccount(account)
	return o, err
}

// claim notes that something is being made outside for a row: a sync that meets it
// before its ID is known must not take it for another thing.
func (s *Service) claim(ctx context.Context, tx *store.Tx, t *served, row values) error {
	if !t.GetForeign().GetCreate() {
		return nil
	}
	o, err := s.originOf(ctx, tx, t, row)
	if err != nil {
		return err
	}
	return origin.Claim(ctx, tx, o)
}

// setOrigin gives the row that has been made its origin.
func (s *Service) setOrigin(ctx context.Context, tx *store.Tx, t *served, c *creation) error {
	row, err := c.row(t)
	if err != nil {
		return err
	}
	o, err := s.originOf(ctx, tx, t, row)
	if err != nil {
		return err
	}
	o.ForeignID = c.ForeignID // and its name is a person's
	return origin.Set(ctx, tx, o)
}

// foreignRow is the origin of a row, nil for one that stands for nothing outside, or
// is still being made.
func (s *Service) foreignRow(ctx context.Context, q store.Querier, t *served, uuid string) (*origin.Origin, error) {
	if t.GetForeign() == nil {
		return nil, nil
	}
	o, err := origin.Get(ctx, q, uuid)
	if err != nil || o == nil || o.ForeignID == "" {
		return nil, err
	}
	return o, nil
}

// tellOrigin adds to what a plugin is told of a row where it comes from.
func (s *Service) tellOrigin(ctx context.Context, q store.Querier, t *served, row values, told *pluginv1.Resource) error {
	if t.GetForeign() == nil {
		return nil
	}
	o, err := s.foreignRow(ctx, q, t, told.GetUuid())
	if err != nil {
		return err
	}
	if o != nil {
		told.ForeignId = o.ForeignID
	}
	if told.Refs, err = s.foreignRefs(ctx, q, t, row); err != nil {
		return err
	}
	endpoint, _ := row[t.GetForeign().GetEndpoint()].(string)
	told.Endpoint, err = s.endpoint(ctx, q, t.GetForeign().GetEndpointType(), endpoint)
	return err
}

// foreignRefs are what those rows are called outside to which some values refer.
func (s *Service) foreignRefs(ctx context.Context, q store.Querier, t *served, v values) (map[string]*pluginv1.ForeignRef, error) {
	refs := map[string]*pluginv1.ForeignRef{}
	for _, f := range t.GetFields() {
		uuid, _ := v[f.GetName()].(string)
		if t.refOf(f) == "" || uuid == "" {
			continue
		}
		o, err := origin.Get(ctx, q, uuid)
		if err != nil {
			return nil, err
		}
		if o != nil && o.ForeignID != "" {
			refs[f.GetName()] = &pluginv1.ForeignRef{Type: o.ResourceType, ForeignId: o.ForeignID}
		}
	}
	return refs, nil
}

// endpoint is the row of an endpoint as a plugin is told, nil when it is gone.
func (s *Service) endpoint(ctx context.Context, q store.Querier, typeName, uuid string) (*pluginv1.Resource, error) {
	t, err := s.named(typeName)
	if err != nil {
		return nil, err
	}
	return s.left(ctx, q, t, uuid)
}

// mayChange tells whether the plugin is told of a change of some fields. Errors:
// Refused names the fields of a foreign row that are not changed here.
func (s *Service) mayChange(ctx context.Context, t *served, uuid string, fields []string) (calls bool, err error) {
	o, err := s.foreignRow(ctx, s.k.Store, t, uuid)
	if err != nil || o == nil || t.GetForeign().GetUpdate() {
		return t.GetCalls(), err
	}
	outside := slices.DeleteFunc(slices.Clone(fields), func(name string) bool {
		return slices.ContainsFunc(baseFields, func(f *pluginv1.Field) bool { return f.GetName() == name })
	})
	if len(outside) > 0 {
		return false, errs.New(errs.Refused, t.GetName()+" "+uuid, "it stands for %s outside: %s can only be changed there", o.ForeignID, strings.Join(outside, ", ")).
			WithAdvice("change it there and sync; here its name and description can be changed")
	}
	return false, nil
}

// deleteModes is the parameter of the delete of a foreign type, none for others.
func (t *served) deleteModes() []action.Param {
	modes := t.GetForeign().GetDelete()
	if len(modes) == 0 {
		return nil
	}
	return []action.Param{{Name: "mode", Type: "string", Values: modes, Default: modes[0],
		Doc: "What of a row that stands for something outside goes: remote removes it there, and what depends on it; local forgets the rows alone."}}
}

// staysOutside tells whether what a row stands for stays when the row goes: a row that
// goes with another, such as its endpoint, is forgotten, unless that one was to be
// removed outside.
func (s *Service) staysOutside(ctx context.Context, q store.Querier, t *served, uuid string) (bool, error) {
	o, err := s.foreignRow(ctx, q, t, uuid)
	if err != nil || o == nil {
		return false, err
	}
	return !cascade.IsOutside(ctx) || !slices.Contains(t.GetForeign().GetDelete(), pluginsdk.DeleteRemote), nil
}
