package provider

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Endpoint implements contract.ForeignRows.
func (s *Service) Endpoint(ctx context.Context, typeName, uuid string) (*contract.Endpoint, error) {
	t, err := s.named(typeName)
	if err == nil {
		err = s.enabled(t)
	}
	if err != nil {
		return nil, err
	}
	row, err := s.row(ctx, s.k.Store, t, uuid)
	if err != nil {
		return nil, err
	}
	e := &contract.Endpoint{Plugin: t.plugin, Type: typeName, UUID: uuid}
	for _, f := range t.GetFields() {
		if text, _ := row[f.GetName()].(string); f.GetSecret() && text != "" {
			e.Secrets = append(e.Secrets, text)
		}
	}
	e.Told, err = s.toldNow(ctx, t, row)
	return e, err
}

// Merge implements contract.ForeignRows.
func (s *Service) Merge(ctx context.Context, tx *store.Tx, e *contract.Endpoint, in *pluginv1.ForeignRow, refs map[string]string, o *origin.Origin) (contract.Merged, error) {
	t, err := s.own(e.Plugin, in.GetType())
	if err != nil {
		return contract.Merged{}, err
	}
	set, err := t.outside(e, in, refs)
	if err != nil {
		return contract.Merged{}, err
	}
	if o == nil {
		return s.bring(ctx, tx, t, e, in.GetForeignId(), set)
	}
	row, err := s.row(ctx, tx, t, o.ResourceUUID)
	if err != nil {
		return contract.Merged{}, err
	}
	return s.renew(ctx, tx, t, o, row, set)
}

// outside are the values of a thing outside, spelled as this core has them.
func (t *served) outside(e *contract.Endpoint, in *pluginv1.ForeignRow, refs map[string]string) (values, error) {
	set, fields := valuesOf(in.GetValues()), append(slices.Clone(baseFields), t.GetFields()...)
	for name, uuid := range refs {
		if set[name] = uuid; uuid == "" {
			set[name] = nil
		}
	}
	set[t.GetForeign().GetEndpoint()] = e.UUID
	if set["name"] == "" {
		delete(set, "name") // it has none there, and keeps what it is called here
	}
	for name, v := range set {
		i := slices.IndexFunc(fields, func(f *pluginv1.Field) bool { return f.GetName() == name })
		why := "which it does not have"
		if i >= 0 {
			why = misfit(fields[i], v, true) // what is immutable here may change there
		}
		if text, is := v.(string); why == "" && is && text != "" && fields[i].GetHolds() != "" {
			k, _ := kinds.Of(fields[i].GetHolds())
			spelled, err := k.Parse(text)
			if err != nil {
				why = "which is not what it holds"
			}
			set[name] = spelled
		}
		if why != "" {
			return nil, errs.New(errs.Invalid, t.GetName()+" "+in.GetForeignId(), "plugin %s tells of its field %s, %s", t.plugin, name, why)
		}
	}
	return set, nil
}

// bring makes the row of what is new outside.
func (s *Service) bring(ctx context.Context, tx *store.Tx, t *served, e *contract.Endpoint, foreignID string, set values) (contract.Merged, error) {
	row := values{"name": foreignID}
	if column := t.GetStates().GetColumn(); t.GetStates().GetReady() != "" {
		row[column] = t.GetStates().GetReady()
	}
	maps.Copy(row, set)
	uuid := resource.NewUUID()
	row["uuid"] = uuid
	for _, f := range t.GetFields() {
		if f.GetRequired() && row[f.GetName()] == nil && f.GetDefault() == "" {
			return contract.Merged{}, errs.New(errs.Invalid, t.GetName()+" "+foreignID, "plugin %s does not tell of its field %s", t.plugin, f.GetName())
		}
	}
	if t.GetOwned() {
		row["accountUuid"] = e.Told.GetAccountUuid()
	}
	if err := s.guard(ctx, tx, t, row); err != nil {
		return contract.Merged{}, err
	}
	if err := store.InsertValues(ctx, tx, t.typ, row); err != nil {
		return contract.Merged{}, err
	}
	o, err := s.originOf(ctx, tx, t, row)
	if err != nil {
		return contract.Merged{}, err
	}
	o.ForeignID = foreignID
	o.Name, _ = row["name"].(string)
	o.Description, _ = row["description"].(string)
	return contract.Merged{UUID: uuid, Created: true}, origin.Set(ctx, tx, o)
}

// renew changes what comes from outside of a row.
func (s *Service) renew(ctx context.Context, tx *store.Tx, t *served, o *origin.Origin, row, set values) (contract.Merged, error) {
	done := contract.Merged{UUID: o.ResourceUUID}
	name, description := cmp.Or(text(set, "name"), o.Name), text(set, "description")
	if _, told := set["description"]; !told {
		description = o.Description
	}
	for field, was := range map[string]string{"name": o.Name, "description": o.Description} {
		if text(row, field) != was { // a person has given it
			delete(set, field)
		}
	}
	for field, v := range set {
		if same(row[field], v) {
			delete(set, field)
		}
	}
	if done.Changed = slices.Sorted(maps.Keys(set)); len(set) > 0 {
		if err := s.guard(ctx, tx, t, set); err != nil {
			return done, err
		}
		if err := store.Set(ctx, tx, t.typ, o.ResourceUUID, set); err != nil {
			return done, err
		}
	}
	account, err := s.owner(ctx, tx, t, row)
	if err != nil {
		return done, err
	}
	return done, origin.Tell(ctx, tx, o, name, description, account)
}

// same tells whether a column has a value; zero and none are the same in it.
func same(had, v any) bool {
	none := func(v any) bool { return v == nil || reflect.ValueOf(v).IsZero() }
	return had == v || none(had) && none(v)
}

func text(v values, name string) string { s, _ := v[name].(string); return s }
