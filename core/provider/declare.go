package provider

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Declare makes the types of plugins' own (kernel.Bases.Own): of the enabled ones,
// and of those that were. A dormant type that refers to what is no more, or has the
// name of what is new, is left out; its rows stay in the database. Errors: Invalid,
// which names the plugin, the type and the field.
func Declare(ctx context.Context, k *kernel.Kernel, types *resource.Registry) ([]*resource.Type, error) {
	all, err := declarations(ctx, k)
	if err != nil {
		return nil, err
	}
	for {
		kept := slices.DeleteFunc(slices.Clone(all), func(d *declaration) bool {
			why := d.check(types, all)
			if why != nil && d.dormant {
				k.Log.Warn("a type of a plugin that is not enabled is left out", "type", d.GetName(), "plugin", d.plugin, "error", why)
				return true
			}
			if err == nil {
				err = why
			}
			return false
		})
		if err != nil {
			return nil, err
		}
		done := len(kept) == len(all)
		if all = kept; done {
			break
		}
	}
	made := make([]*resource.Type, len(all))
	for i, d := range all {
		if made[i], err = d.declared(); err != nil {
			return nil, d.wrong("%v", err)
		}
	}
	return made, nil
}

// check looks at a declaration by itself, and at what it refers to: types that are
// there, or are declared with it.
func (d *declaration) check(types *resource.Registry, all []*declaration) error {
	if err := pluginsdk.CheckResourceType(d.ResourceTypeDecl); err != nil {
		return d.wrong("%v", err)
	}
	if _, taken := types.Get(d.GetName()); taken {
		return d.wrong("there is a type of this name").WithAdvice("give it another name")
	}
	refer := func(what, to string) error {
		_, ok := types.Get(to)
		if ok || slices.ContainsFunc(all, func(o *declaration) bool { return o.GetName() == to }) {
			return nil
		}
		return d.wrong("%s: there is no type %s", what, to).WithAdvice("enable the plugin that brings %s", to)
	}
	for _, e := range d.GetEdges() {
		if err := refer("edge "+e.GetName(), e.GetTo()); err != nil {
			return err
		}
	}
	for _, e := range d.GetEmbeds() {
		if err := refer("embed "+e.GetName(), e.GetType()); err != nil {
			return err
		}
	}
	for _, tag := range d.GetTags() {
		if err := refer("tag "+tag.GetPattern(), cmp.Or(tag.GetOf(), d.GetName())); err != nil {
			return err
		}
	}
	fields := d.GetFields()
	for _, a := range d.GetActions() {
		fields = slices.Concat(fields, a.GetParams())
		if a.GetReturns() == "" {
			continue
		}
		if err := refer("action "+a.GetMessage(), a.GetReturns()); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if f.GetRef() == "" {
			continue
		}
		if err := refer("field "+f.GetName(), f.GetRef()); err != nil {
			return err
		}
	}
	return nil
}

var rules = map[string]resource.OnDelete{pluginsdk.OnDeleteCascade: resource.Cascade, pluginsdk.OnDeleteDetach: resource.Detach,
	pluginsdk.OnDeleteRestrict: resource.Restrict}

// declared makes the type.
func (d *declaration) declared() (*resource.Type, error) {
	t := resource.Type{Name: d.GetName(), Path: d.GetPath(), FQN: d.GetInventoryClass(), Owned: d.GetOwned(), OwnedBy: d.GetOwnedBy(),
		Readable: d.readable(), View: d.view(), QueryMessage: d.GetQueryMessage(), Plugin: d.plugin, Dormant: d.dormant, Enums: map[string]*resource.Enum{}}
	for _, f := range d.GetFields() {
		field, err := kernel.FieldOf(f)
		if err != nil {
			return nil, err
		}
		field.Null = !f.GetRequired()
		if to := d.refOf(f); to != "" {
			field.Size, field.Ref = 32, to
		}
		if !f.GetSecret() {
			field.Default = f.GetDefault()
		}
		t.Fields = append(t.Fields, field)
		if len(f.GetValues()) > 0 {
			t.Enums[f.GetName()] = d.enum(f)
		}
	}
	for _, e := range d.GetEmbeds() {
		t.Embeds = append(t.Embeds, resource.Embed{Name: e.GetName(), Type: e.GetType(), Column: e.GetColumn(), Scalar: e.GetScalar(),
			OrderBy: e.GetOrderBy(), Caption: kernel.Said(e.GetCaption())})
	}
	if d.GetForeign() != nil {
		t.Embeds = append(t.Embeds, origin.Member())
	}
	for _, a := range d.GetQueryAliases() {
		t.Aliases = append(t.Aliases, resource.Alias{Name: a.GetName(), Path: a.GetPath()})
	}
	for _, ix := range d.GetIndexes() {
		t.Indexes = append(t.Indexes, resource.Index{Columns: ix.GetColumns(), Unique: ix.GetUnique()})
	}
	for _, e := range d.GetEdges() {
		t.Edges = append(t.Edges, resource.Edge{Name: e.GetName(), To: e.GetTo(), Column: e.GetColumn(), OnDelete: rules[e.GetOnDelete()],
			Inverse: e.GetInverse(), Hidden: e.GetHidden()})
		for i := range t.Fields {
			if t.Fields[i].Name == e.GetColumn() {
				t.Fields[i].Index = !t.Fields[i].Unique
			}
		}
	}
	if s := d.GetStates(); s != nil {
		t.States = &resource.StateMachine{Column: s.GetColumn(), Moves: map[string]map[string]string{}}
		for _, m := range s.GetMoves() {
			if t.States.Moves[m.GetEvent()] == nil {
				t.States.Moves[m.GetEvent()] = map[string]string{}
			}
			t.States.Moves[m.GetEvent()][m.GetFrom()] = m.GetTo()
		}
		t.Enums[s.GetColumn()] = d.stateEnum(t.States)
	}
	return resource.Declare(t)
}

func (d *declaration) readable() resource.Readable {
	switch {
	case d.GetReadable() == pluginsdk.ReadableGlobal:
		return resource.Global
	case d.GetReadable() == pluginsdk.ReadableAdmin, d.GetReadable() == "" && !d.hasOwner():
		return resource.Admin
	}
	return resource.Owner
}

func (d *declaration) hasOwner() bool { return d.GetOwned() || d.GetOwnedBy() != "" }

func (d *declaration) view() resource.View {
	v := resource.View{Caption: kernel.Said(d.GetCaption()), Plural: kernel.Said(d.GetPlural()), Doc: kernel.Said(d.GetDoc()), Noun: d.GetNoun(),
		Aliases: d.GetAliases(), Group: d.GetGroup(), Order: int(d.GetOrder()), Icon: d.GetIcon(), Columns: d.GetColumns(), Part: d.GetPath() == ""}
	if d.GetQuota() != "" {
		v.Quotas = []string{d.GetQuota()}
	}
	return v
}

// refOf is the type whose UUID a field holds, "" for none.
func (d *declaration) refOf(f *pluginv1.Field) string {
	for _, e := range d.GetEdges() {
		if e.GetColumn() == f.GetName() {
			return e.GetTo()
		}
	}
	return f.GetRef()
}

// enum has the values of a field by their words.
func (d *declaration) enum(f *pluginv1.Field) *resource.Enum {
	e := resource.EnumOf(d.GetName()+"."+f.GetName(), f.GetValues()...)
	for i := range e.Values {
		for _, w := range f.GetWords() {
			if w.GetValue() == e.Values[i].Name {
				e.Values[i].Caption, e.Values[i].Tone = kernel.Said(w.GetCaption()), w.GetTone()
			}
		}
	}
	return e
}

// stateEnum has all states by the words of the declaration.
func (d *declaration) stateEnum(m *resource.StateMachine) *resource.Enum {
	s := d.GetStates()
	names := append(m.States(), s.GetCreating(), s.GetReady())
	for _, w := range s.GetWords() {
		names = append(names, w.GetState())
	}
	slices.Sort(names)
	e := &resource.Enum{Name: d.GetName() + "." + s.GetColumn()}
	for _, name := range slices.Compact(names) {
		if name == "" {
			continue
		}
		v := resource.Value{Name: name}
		for _, w := range s.GetWords() {
			if w.GetState() == name {
				v.Caption, v.Tone, v.Transient = kernel.Said(w.GetCaption()), w.GetTone(), w.GetTransient()
			}
		}
		e.Values = append(e.Values, v)
	}
	return e
}

// access says who may call a message of the type.
func (d *declaration) access(word string) action.Access {
	if word == pluginsdk.AccessAdmin || word == "" && !d.hasOwner() {
		return action.Admin
	}
	return action.Normal
}
