package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// known is a type that a plugin has declared once. It stays when the plugin is not
// enabled: there may be rows.
type known struct {
	UUID        string        `db:"uuid" kumo:"size=32,immutable"`
	Name        string        `db:"name" kumo:"size=100,immutable,unique"` // of the type
	Plugin      string        `db:"plugin" kumo:"size=64"`
	Declaration string        `db:"declaration" kumo:"text"` // the declarations so far, as JSON, the widest last
	CreateDate  resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate  resource.Time `db:"lastOpDate"`
}

var knownType = resource.Define[known](resource.Type{Name: "PluginType", Readable: resource.Admin, Internal: true})

// Types returns the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{knownType.Type} }

// declaration is a resource type that a plugin declares, or did when it was
// enabled.
type declaration struct {
	*pluginv1.ResourceTypeDecl
	plugin string
	// dormant: the plugin is not enabled, or has the type no more.
	dormant bool
}

// wrong is an error of what a plugin declares.
func (d *declaration) wrong(format string, args ...any) *errs.Error {
	return errs.New(errs.Invalid, "resource type "+d.GetName()+" of plugin "+d.plugin, format, args...)
}

// declarations returns the types that enabled plugins declare, and then those that
// are dormant. Errors: Invalid for what cannot follow on what was declared before.
func declarations(ctx context.Context, k *kernel.Kernel) ([]*declaration, error) {
	damaged := store.PassedOver(k.Log)
	rows, err := store.Sound(ctx, k.Store, knownType, damaged, "ORDER BY `name`")
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(row *known) bool {
		if row.Declaration == forgotten {
			return true
		}
		_, err := row.read()
		if err != nil {
			damaged(row.UUID, err) // and its plugin, when it is enabled, writes it anew
		}
		return err != nil
	})
	before := map[string]*known{}
	for _, row := range rows {
		before[row.Name] = row
	}
	var all []*declaration
	for _, m := range k.Declared() {
		for _, decl := range m.GetResourceTypes() {
			d := &declaration{ResourceTypeDecl: decl, plugin: m.GetName()}
			if err := d.follows(before[decl.GetName()]); err != nil {
				return nil, err
			}
			delete(before, decl.GetName())
			all = append(all, d)
		}
	}
	for _, row := range rows {
		if before[row.Name] == nil {
			continue
		}
		decls, err := row.read()
		if err != nil {
			return nil, err
		}
		all = append(all, &declaration{ResourceTypeDecl: decls[len(decls)-1], plugin: row.Plugin, dormant: true})
	}
	return all, nil
}

// maxKept is how many declarations of a type are kept, so that its plugin can return
// to a version before.
const maxKept = 16

func (r *known) read() (decls []*pluginv1.ResourceTypeDecl, err error) {
	var texts []json.RawMessage
	err = json.Unmarshal([]byte(r.Declaration), &texts)
	for _, text := range texts {
		decl := &pluginv1.ResourceTypeDecl{}
		err = cmp.Or(err, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, decl))
		decls = append(decls, decl)
	}
	if err == nil && len(decls) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "resource type "+r.Name+" of plugin "+r.Plugin, err, "its declaration in the database cannot be read")
	}
	return decls, nil
}

func write(decls []*pluginv1.ResourceTypeDecl) (string, error) {
	texts := make([]json.RawMessage, len(decls))
	var err error
	for i, decl := range decls {
		if texts[i], err = protojson.Marshal(decl); err != nil {
			return "", errs.Wrap(errs.Internal, "resource type "+decl.GetName(), err, "write its declaration")
		}
	}
	text, err := json.Marshal(texts)
	return string(text), err
}

// follows refuses a declaration that its rows in the database do not fit. One that
// was there before does: its table has more now, which it does not miss.
func (d *declaration) follows(before *known) error {
	if before == nil {
		return nil
	}
	if before.Plugin != d.plugin {
		return d.wrong("it is a type of plugin %s, of which there may be rows", before.Plugin).WithAdvice("give it another name")
	}
	was, err := before.read()
	if err != nil || d.among(was) {
		return err
	}
	return d.additive(was[len(was)-1])
}

func (d *declaration) among(decls []*pluginv1.ResourceTypeDecl) bool {
	return slices.ContainsFunc(decls, func(was *pluginv1.ResourceTypeDecl) bool { return proto.Equal(was, d.ResourceTypeDecl) })
}

// Save keeps what the enabled plugins declare. A repeat changes nothing.
func (s *Service) Save(ctx context.Context) error {
	if err := s.dropForgotten(ctx); err != nil {
		return err
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error {
		rows, err := store.Sound(ctx, tx, knownType, store.PassedOver(s.k.Log), "")
		if err != nil {
			return err
		}
		for _, t := range *s.types.Load() {
			if t.dormant {
				continue
			}
			if err := t.save(ctx, tx, rows); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *declaration) save(ctx context.Context, tx *store.Tx, rows []*known) error {
	i := slices.IndexFunc(rows, func(r *known) bool { return r.Name == d.GetName() })
	if i < 0 {
		text, err := write([]*pluginv1.ResourceTypeDecl{d.ResourceTypeDecl})
		if err != nil {
			return err
		}
		return store.Insert(ctx, tx, knownType, &known{UUID: resource.NewUUID(), Name: d.GetName(), Plugin: d.plugin, Declaration: text})
	}
	decls, err := rows[i].read()
	if err == nil && d.among(decls) {
		return nil
	}
	decls = append(decls[max(0, len(decls)-maxKept+1):], d.ResourceTypeDecl)
	text, err := write(decls)
	if err != nil {
		return err
	}
	return store.Set(ctx, tx, knownType.Type, rows[i].UUID, map[string]any{"declaration": text})
}
