package provider

import (
	"context"
	"slices"
	"time"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// values are those of a row, or of parameters, by name: string, int64, bool,
// float64, resource.Time, []string, []map[string]any; what has none is absent.
type values map[string]any

// notTold are the columns that a plugin is told in other ways, or not at all.
var notTold = []string{"uuid", "accountUuid", "createDate", "lastOpDate"}

// proto is what a plugin is told.
func (v values) proto() (map[string]*pluginv1.Value, error) {
	plain := unadorned(v)
	for _, name := range notTold {
		delete(plain, name)
	}
	return pluginsdk.Values(plain)
}

// unadorned are the values as package pluginsdk knows them, without those that are
// none.
func unadorned(v map[string]any) map[string]any {
	plain := make(map[string]any, len(v))
	for name, value := range v {
		switch value := value.(type) {
		case nil:
		case resource.Time:
			plain[name] = value.Time
		case []map[string]any:
			objects := make([]map[string]any, len(value))
			for i := range value {
				objects[i] = unadorned(value[i])
			}
			plain[name] = objects
		default:
			plain[name] = value
		}
	}
	return plain
}

// valuesOf is the counterpart of values.proto.
func valuesOf(told map[string]*pluginv1.Value) values {
	v := values{}
	for name, value := range told {
		v[name] = adorned(pluginsdk.Plain(value))
	}
	return v
}

func adorned(plain any) any {
	switch plain := plain.(type) {
	case time.Time:
		return resource.Time{Time: plain}
	case []map[string]any:
		for _, object := range plain {
			for name, value := range object {
				object[name] = adorned(value)
			}
		}
	}
	return plain
}

// facts are what a plugin answered for fields that are its to fill in. Those that it
// declares now, having been upgraded meanwhile, are left out until the next start.
// Errors: Internal, which names the plugin and the field.
func (d *declaration) facts(told map[string]*pluginv1.Value, now *pluginv1.ResourceTypeDecl) (values, error) {
	v := valuesOf(told)
	for name, value := range v {
		bad := func(why string) error {
			return errs.New(errs.Internal, "plugin "+d.plugin, "it answered for field %s of a %s, which %s", name, d.GetName(), why).
				WithAdvice("this is a defect of the plugin")
		}
		called := func(f *pluginv1.Field) bool { return f.GetName() == name }
		i := slices.IndexFunc(d.GetFields(), called)
		if i < 0 && slices.ContainsFunc(now.GetFields(), called) {
			delete(v, name)
			continue
		}
		if i < 0 {
			return nil, bad("it does not have")
		}
		f := d.GetFields()[i]
		if !f.GetFact() && !f.GetHidden() {
			return nil, bad("is not the plugin's to fill in")
		}
		if value != nil && !fits(f.GetKind(), value) {
			return nil, bad("is not of its kind")
		}
		text, isText := value.(string)
		if k, ok := kinds.Of(f.GetHolds()); ok && isText && text != "" {
			spelled, err := k.Parse(text)
			if err != nil {
				return nil, bad("is not what it holds")
			}
			v[name] = spelled
		}
	}
	return v, nil
}

// fits tells whether a value is of the kind of a field.
func fits(kind string, value any) (ok bool) {
	switch kind {
	case "int", "long":
		_, ok = value.(int64)
	case "bool":
		_, ok = value.(bool)
	case "double":
		_, ok = value.(float64)
	case "time":
		_, ok = value.(resource.Time)
	default:
		_, ok = value.(string)
	}
	return ok
}

// told is a row as its plugin is told. tags nil: those that it has.
func (s *Service) told(ctx context.Context, q store.Querier, t *served, row values, tags []string) (*pluginv1.Resource, error) {
	uuid, _ := row["uuid"].(string)
	account, err := s.owner(ctx, q, t, row)
	if err != nil {
		return nil, err
	}
	if tags == nil {
		if tags, err = s.k.Tags.Of(ctx, q, uuid); err != nil {
			return nil, err
		}
	}
	told, err := row.proto()
	if err != nil {
		return nil, err
	}
	r := &pluginv1.Resource{Type: t.GetName(), Uuid: uuid, AccountUuid: account, Values: told, SystemTags: tags}
	return r, s.tellOrigin(ctx, q, t, row, r)
}

// owner is the account of a row, which need not be in the database; "" for none.
func (s *Service) owner(ctx context.Context, q store.Querier, t *served, row values) (string, error) {
	if t.typ.OwnedBy == "" {
		account, _ := row["accountUuid"].(string)
		return account, nil
	}
	e, _ := t.typ.Edge(t.typ.OwnedBy)
	of, ok := s.k.Types.Get(e.To)
	if !ok {
		return "", nil // Registry.Check tells of it
	}
	part, _ := row[e.Column].(string)
	return access.Owner(ctx, q, s.k.Types, of, part)
}

// row reads a row.
func (s *Service) row(ctx context.Context, q store.Querier, t *served, uuid string) (values, error) {
	row, err := store.GetValues(ctx, q, t.typ, uuid)
	return values(row), err
}
