package kernel

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Subtype builds the resource type by which a plugin extends a base type: a
// hypervisor's host, a storage's properties. value is the base type's
// discriminator, such as "KVM". It returns nil when the plugin adds nothing.
func Subtype(parent *resource.Type, value string, add *pluginv1.AddMessage, fields []*pluginv1.Field) (*resource.Type, error) {
	if add.GetSubtype() == "" {
		if len(fields) > 0 {
			return nil, errs.New(errs.Invalid, "plugin type "+value, "declares fields but no subtype name")
		}
		return nil, nil
	}
	t := &resource.Type{
		Name: add.GetSubtype(), FQN: add.GetInventoryClass(),
		Parent: parent.Name, DiscriminatorValue: value, View: resource.View{Caption: Said(add.GetCaption()), Doc: Said(add.GetDoc())},
	}
	if add.GetQuery() {
		t.Path = add.GetPath()
	}
	for _, f := range fields {
		field, err := FieldOf(f)
		if err == nil && field.Kind == resource.TimeKind {
			err = errs.New(errs.Invalid, "kind time", "is for resource types of a plugin's own")
		}
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.GetName(), t.Name, err)
		}
		field.Null = true
		if _, shadows := parent.Field(f.GetName()); shadows {
			field.Name, field.Hidden = shadow+field.Name, true
		}
		t.Fields = append(t.Fields, field)
	}
	return resource.Declare(*t)
}

// FieldOf is the field that a manifest declares. It has no default: what is not
// given is filled in by who makes the row.
func FieldOf(f *pluginv1.Field) (resource.Field, error) {
	kind, err := fieldKind(f.GetKind())
	if err != nil {
		return resource.Field{}, err
	}
	size := int(f.GetMaxLength())
	if kind == resource.String && size == 0 {
		size = 255
	}
	if f.GetSecret() && kind == resource.String {
		kind = resource.Text // what is sealed is longer
	}
	if kind == resource.String && f.GetRef() != "" {
		size = 32
	}
	return resource.Field{
		Name: f.GetName(), Kind: kind, Size: size, Null: !f.GetRequired(), Secret: f.GetSecret(), Hidden: f.GetHidden(),
		Immutable: f.GetImmutable(), Unique: f.GetUnique(), Index: f.GetIndex(), Ref: f.GetRef(),
		Values: f.GetValues(), Holds: f.GetHolds(), Range: bounds(f), Doc: f.GetDoc(), Caption: Said(f.GetCaption()), Unit: f.GetUnit(),
	}, nil
}

// Said is a caption of a manifest.
func Said(c *pluginv1.Caption) resource.Caption { return resource.Say(c.GetEn(), c.GetZh()) }

// SubtypeOf returns the type by which a plugin extends a base type for one
// value of its discriminator, nil when it adds no fields.
func (k *Kernel) SubtypeOf(parent *resource.Type, value string) *resource.Type {
	return subtypeIn(k.Types, parent, value)
}

func subtypeIn(types *resource.Registry, parent *resource.Type, value string) *resource.Type {
	for _, t := range types.Subtypes(parent.Name) {
		if t.DiscriminatorValue == value {
			return t
		}
	}
	return nil
}

// PluginFieldsOf reads what a resource's plugin is told beyond the fields of
// the base type, secrets included. A resource without a subtype has none.
func (k *Kernel) PluginFieldsOf(ctx context.Context, q store.Querier, parent *resource.Type, value, uuid string) (map[string]string, error) {
	sub := k.SubtypeOf(parent, value)
	if sub == nil {
		return map[string]string{}, nil
	}
	row, err := store.GetValues(ctx, q, sub, uuid)
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		return nil, err
	}
	return PluginFields(row), nil
}

// shadow begins the name of a subtype's column for a parameter that is called
// like a field of the base type: a storage's totalCapacity as it was asked
// for, beside the one that was measured.
const shadow = "given0"

// SubtypeRow returns the values of a subtype's new row.
func SubtypeRow(sub *resource.Type, uuid string, values map[string]any) map[string]any {
	row := map[string]any{"uuid": uuid}
	for k, v := range SubtypeValues(sub, values) {
		row[k] = v
	}
	return row
}

// SubtypeValues names values by a subtype's columns; what it does not have is
// left out.
func SubtypeValues(sub *resource.Type, values map[string]any) map[string]any {
	row := map[string]any{}
	for name, v := range values {
		if _, ok := sub.Field(shadow + name); ok {
			row[shadow+name] = v
		} else if _, ok := sub.Field(name); ok {
			row[name] = v
		}
	}
	return row
}

// PluginFields turns a subtype's row, or the values of an add message, into
// what its plugin is told.
func PluginFields(row map[string]any) map[string]string {
	fields := map[string]string{}
	for name, v := range row {
		if v == nil || name == "uuid" || name == "createDate" || name == "lastOpDate" {
			continue
		}
		fields[strings.TrimPrefix(name, shadow)] = fmt.Sprint(v)
	}
	return fields
}

func fieldKind(k string) (resource.Kind, error) {
	switch k {
	case "", "string":
		return resource.String, nil
	case "text":
		return resource.Text, nil
	case "int":
		return resource.Int, nil
	case "long":
		return resource.Long, nil
	case "bool":
		return resource.Bool, nil
	case "double":
		return resource.Double, nil
	case "time":
		return resource.TimeKind, nil
	}
	return 0, errs.New(errs.Invalid, "kind "+strconv.Quote(k), "is not one of string, text, int, long, bool, double, time")
}

// AddParams returns the parameters of a plugin-declared add message: those of
// the base type, and the plugin's own.
func AddParams(base []action.Param, add *pluginv1.AddMessage, fields []*pluginv1.Field) []action.Param {
	params := append([]action.Param(nil), base...)
	have := map[string]bool{}
	for i, p := range base {
		have[p.Name] = true
		if p.Name == "url" && add.GetUrlHolds() != "" {
			params[i].Holds = add.GetUrlHolds()
		}
	}
	for _, f := range fields {
		if f.GetFact() || f.GetHidden() || have[f.GetName()] {
			continue
		}
		params = append(params, ParamOf(f))
	}
	return params
}

// ParamOf is the parameter that a manifest declares, or that gives a field its
// value. Of a time it is the text.
func ParamOf(f *pluginv1.Field) action.Param {
	var members []action.Param
	for _, m := range f.GetMembers() {
		members = append(members, ParamOf(m))
	}
	return action.Param{
		Members: members,
		Name:    f.GetName(), Type: wireType(f.GetKind()), Required: f.GetRequired(), Secret: f.GetSecret(), Resource: f.GetRef(),
		MaxLength: int(f.GetMaxLength()), Values: f.GetValues(), Holds: f.GetHolds(), Range: bounds(f), Default: f.GetDefault(), Doc: f.GetDoc(),
		View: action.ParamView{Caption: Said(f.GetCaption()), Unit: f.GetUnit()},
	}
}

// bounds are those of a number, nil for none.
func bounds(f *pluginv1.Field) *[2]int64 {
	if f.GetMin() == 0 && f.GetMax() == 0 {
		return nil
	}
	return &[2]int64{f.GetMin(), f.GetMax()}
}

func wireType(kind string) string {
	switch kind {
	case "int", "long", "bool", "double":
		return kind
	case "strings":
		return "[]string"
	case "objects":
		return action.Objects
	}
	return "string"
}

// FieldValues picks the values of a plugin's own fields out of the parameters
// of its add message, with defaults filled in.
func FieldValues(params map[string]any, fields []*pluginv1.Field) (map[string]any, error) {
	values := map[string]any{}
	for _, f := range fields {
		if v, ok := params[f.GetName()]; ok && v != nil {
			values[f.GetName()] = v
		} else if f.GetDefault() != "" {
			v, err := typed(f, f.GetDefault())
			if err != nil {
				return nil, err
			}
			values[f.GetName()] = v
		}
	}
	return values, nil
}

// Facts turns what a plugin reported into values of its fact fields; what it
// did not declare as a fact is left out.
func Facts(reported map[string]string, fields []*pluginv1.Field) (map[string]any, error) {
	values := map[string]any{}
	for _, f := range fields {
		text, ok := reported[f.GetName()]
		if !ok || !f.GetFact() {
			continue
		}
		v, err := typed(f, text)
		if err != nil {
			return nil, err
		}
		values[f.GetName()] = v
	}
	return values, nil
}

// typed reads the text of a value by the kind of its field.
func typed(f *pluginv1.Field, text string) (any, error) {
	var v any = text
	var err error
	switch f.GetKind() {
	case "int", "long":
		v, err = strconv.ParseInt(text, 10, 64)
	case "bool":
		v, err = strconv.ParseBool(text)
	case "double":
		v, err = strconv.ParseFloat(text, 64)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "field "+f.GetName(), err, "value %q is not of kind %s", text, f.GetKind())
	}
	return v, nil
}
